"The artificial sky: what is drawn, what each survey sees of it, and when two skies are the same."
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from radiogal import config, surveys
from radiogal.candidates import read_components
from radiogal.positions import deproject, locate, read_table, write_table
from radiogal.sky import (
    _BUILDERS,
    _COMPONENT,
    _COUNTS_SLOPE,
    _FWHM_SIGMA,
    ArtificialSky,
    _add_gaussian,
    _draw_noise,
    _list_components,
    _merge_parts,
    _tabulate_components,
    draw_population,
    find_covariance,
    make_fingerprint,
    make_wcs,
    observe,
    render_sources,
    write_image,
)

CLASSES = config.MorphologyClass.__args__
TINY = config.Sky(seed=1, sources_per_class=2, spacing_arcmin=3.6, vlass_image_pixels=600)


@pytest.fixture(scope="module")
def sources(): return draw_population(TINY, CLASSES)


@pytest.fixture(scope="module")
def targets(sources): return sources[sources["label"] != ""]


@pytest.mark.parametrize("label", CLASSES)
def test_parts_of_a_source_share_its_flux_density(label):
    for seed in range(40):
        part = _BUILDERS[label](np.random.default_rng(seed), np.radians(70))
        np.testing.assert_allclose(part["flux"].sum(), 1, atol=1e-12)
        assert (part["flux"] > 0).all() and min(part["length"].min(), part["width"].min()) > 0


def test_a_population_is_its_seed_s(sources, targets):
    assert len(set(sources["name"])) == len(sources)
    assert (draw_population(TINY, CLASSES) == sources).all()
    other = draw_population(TINY.model_copy(update=dict(seed=2)), CLASSES)
    assert not set(other["name"]) & set(targets["name"])


def test_the_field_follows_the_source_counts():
    wide = draw_population(config.Sky(seed=3, sources_per_class=100), CLASSES)
    flux = np.asarray(wide["flux_density"])[np.asarray(wide["label"]) == ""]
    slope = -1/np.log(flux/flux.min()).mean()
    assert abs(slope + _COUNTS_SLOPE) < 5*_COUNTS_SLOPE/np.sqrt(len(flux))


def test_a_gaussian_has_its_flux_density_and_stays_in_the_image():
    ellipse, untouched = np.zeros((61, 81), dtype=np.float32), np.zeros((5, 5), dtype=np.float32)
    _add_gaussian(ellipse, 40, 30, 1., *find_covariance(12., 6., 45.))
    np.testing.assert_allclose(ellipse.sum(), np.pi*12*6/(4*np.log(2)), atol=0.01)
    _add_gaussian(untouched, -500, 2, 1., 4., 4., 0.)
    assert not untouched.any()


@pytest.mark.parametrize("survey", surveys.list_imaged())
def test_a_survey_keeps_flux_density_and_position(survey, sources, targets):
    s = surveys.get_survey(survey)
    for row in targets:
        source = sources[sources["name"] == row["name"]]
        parts, image = (_list_components(source),
                        render_sources(source, survey, locate(row), int(np.ceil(400/s.pixel_scale.value))))
        expected = (parts["flux"]*(s.frequency/(1.4*u.GHz)).to_value(u.one)**parts["alpha"]).sum()
        bmaj, bmin, _ = surveys.find_beam(survey, row["dec"]*u.deg)
        per_beam = (surveys.beam_area(bmaj, bmin)/s.pixel_scale**2).to_value(u.one)
        np.testing.assert_allclose(image.sum()/per_beam, expected, rtol=0.01)
        if row["label"] == "Compact":
            y, x = np.unravel_index(image.argmax(), image.shape)
            found = make_wcs(survey, locate(row), len(image)).pixel_to_world(x, y)
            assert found.separation(locate(row)) < 0.6*s.pixel_scale


def test_the_beam_of_tgss_is_longer_in_the_far_south():
    south = draw_population(TINY.model_copy(update=dict(dec_deg=-39.)), ("Compact", "FRI"))
    point = south[south["label"] == "Compact"][:1]
    image = render_sources(point, "TGSS", locate(point)[0], 61)
    assert image[36, 30] > 1.5*image[30, 36]


def test_noise_has_its_rms_and_the_beam_s_correlation():
    cov = find_covariance(3., 3., 0.)
    noise = _draw_noise(np.random.default_rng(1), 500, cov, 0.15)
    assert (noise.shape, noise.dtype) == ((500, 500), np.float32)
    neighbour = np.mean(noise[:, 1:]*noise[:, :-1])/noise.var()
    np.testing.assert_allclose([noise.std(), neighbour], [0.15, np.exp(-1/(2*cov[0]))], atol=0.01)


@pytest.mark.parametrize("survey", ["FIRST", "NVSS", "VLASS", "TGSS"])
def test_a_file_has_the_survey_s_axes_pixels_and_noise(survey, sources, targets, tmp_path):
    s, centre = surveys.get_survey(survey), locate(targets)[0]
    hdu = observe(sources, survey, centre, 64, seed=1)
    wcs = WCS(hdu.header, naxis=2)
    assert hdu.data.shape == (1,)*(dict(VLASS=4, TGSS=4).get(survey, 2) - 2) + (64, 64)
    assert hdu.header["CTYPE1"][-3:] == ("TAN" if survey == "NVSS" else "SIN")
    assert wcs.pixel_to_world(32, 32).separation(centre) < 0.01*s.pixel_scale
    np.testing.assert_allclose(wcs.proj_plane_pixel_scales()[0].to_value(u.arcsec), s.pixel_scale.value, atol=1e-6)
    blank = observe(sources[:0], survey, centre, 256, seed=2).data.std()
    np.testing.assert_allclose(blank/s.rms.to_value(u.Jy/u.beam), 1, atol=0.05)
    again, other = (observe(sources, survey, centre, 64, seed).data for seed in (1, 2))
    assert (again == hdu.data).all() and (other != again).any()
    with fits.open(write_image(tmp_path/"a.fits", hdu)) as hdus: assert (hdus[0].data == hdu.data).all()


def test_vlass_says_its_frame_and_pads_its_unit(sources, targets):
    header = observe(sources, "VLASS", locate(targets)[0], 64, seed=1).header
    assert (header["RADESYS"], header.cards["BUNIT"].image[10:20]) == ("ICRS", "'Jy/beam '")


def test_a_sky_has_a_fingerprint_of_all_that_decides_a_pixel(sources, tmp_path):
    artificial, larger = ArtificialSky(sources, TINY), TINY.model_copy(update=dict(vlass_image_pixels=601))
    back = read_table(write_table(sources, tmp_path/"sky.ecsv"))
    assert (back == sources).all() and (back.meta, back["ra"].unit) == (dict(sources.meta), u.deg)
    assert {ArtificialSky(same, TINY).fingerprint for same in (back, sources.copy())} == {artificial.fingerprint}
    others = {ArtificialSky(sources[:-1], TINY).fingerprint, ArtificialSky(sources, larger).fingerprint}
    assert artificial.fingerprint not in others and len(artificial.fingerprint) == 64
    assert make_fingerprint(b"a", b"bc") != make_fingerprint(b"ab", b"c")


def test_images_lie_where_their_frames_say(sources, targets):
    artificial = ArtificialSky(sources, TINY)
    content, (frame, width, height) = artificial.read_vlass(0, "VLASS2.1"), artificial.vlass_frames[0]
    made = fits.HDUList.fromstring(content)[0]
    assert made.data.shape == (1, 1, height, width) and len(content) % 2880 == 0
    np.testing.assert_allclose(WCS(made.header, naxis=2).wcs_pix2world(5, 7, 0), frame.wcs_pix2world(5, 7, 0),
                               atol=1e-9)
    one, two = (artificial.cut_image("FIRST", locate(targets)[0], 2.5*u.arcmin).data for _ in range(2))
    assert one.shape == (83, 83) and (one == two).all()


def place_pair(distance, angle):
    "Two equal points at a distance in arcsec and a position angle in degrees, next to 24 h."
    parts = np.zeros(2, _COMPONENT)
    parts["flux"], parts["length"], parts["width"] = 0.1, 0.01, 0.01
    half = np.array([-0.5, 0.5])*distance/3600
    parts["ra"], parts["dec"] = deproject(half*np.sin(np.radians(angle)), half*np.cos(np.radians(angle)), 359.9999, 60.)
    return parts


@pytest.mark.parametrize("angle", [0.1, 40, 130])
def test_parts_within_a_beam_are_merged_by_moments(angle):
    (joined,) = _merge_parts(place_pair(4, angle))
    np.testing.assert_allclose([joined["flux"], joined["length"], joined["angle"]], [0.2, 4/2/_FWHM_SIGMA, angle],
                               atol=0.01)
    assert locate(joined).separation(SkyCoord(359.9999, 60, unit="deg")) < 1e-3*u.arcsec


def test_parts_apart_stay_apart():
    alone = np.array([(0.001, 60., 0.2, -0.7, 9., 4., 70.)], _COMPONENT)
    np.testing.assert_allclose(_merge_parts(alone)[0].tolist(), alone[0].tolist(), atol=1e-6)
    assert len(_merge_parts(place_pair(30, 40))) == 2


def test_components_are_listed_with_their_area(sources, tmp_path):
    listed = _tabulate_components(sources, seed=1)
    assert (_tabulate_components(sources, seed=1)["flux_density"] == listed["flux_density"]).all()
    assert len(_tabulate_components(sources[:0], seed=1)) == 0
    np.testing.assert_allclose(listed.meta["area_deg2"], (sources.meta["field_arcmin"]/60)**2, atol=1e-9)
    assert len(read_components(write_table(listed, tmp_path/"first.ecsv"))) == len(listed)
