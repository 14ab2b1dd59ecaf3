"A figure of one's own: how sure a network is where it is right, and where it is wrong."
import matplotlib.pyplot as plt
import numpy as np

from radiogal.evaluation import check_predictions


def plot_margin(predictions, ax=None):
    "Histograms of the highest probability of each source, right and wrong answers apart; Axes."
    labels, probabilities = check_predictions(predictions)
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    ax = ax or plt.subplots()[1]
    for chosen, name in ((right, "right"), (~right, "wrong")):
        ax.hist(sure[chosen], bins=np.linspace(0, 1, 21), alpha=0.6, label=f"{name} ({chosen.sum()})")
    ax.set(xlabel="Highest probability", ylabel="Sources")
    ax.legend()
    return ax
