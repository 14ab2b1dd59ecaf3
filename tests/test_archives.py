"The loopback archives: what each service refuses, and that its pixels are those of the image."
import io
from urllib.parse import urlencode

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.io.votable import parse_single_table
from astropy.wcs import WCS

from radiogal.archives import (
    _KEPT_RESULTS,
    _ROOT,
    _answer_cutout,
    _answer_first,
    _answer_links,
    _answer_siap,
    _answer_skyview,
    _answer_tap,
    _BadRequest,
    _build_tree,
    _cut_pixels,
    _find_overlap,
    _lay_out,
    _list_quick_looks,
    _name_image,
    _query_images,
    _read_fields,
    _read_form_position,
    _read_number,
    _read_skyview,
    _read_values,
    _sample_nearest,
)
from radiogal.config import MorphologyClass, Sky
from radiogal.positions import locate
from radiogal.sky import ArtificialSky, draw_population, make_header, make_wcs

TINY = Sky(seed=1, sources_per_class=2, spacing_arcmin=3.6, vlass_image_pixels=600)
PIXEL = 15/3600 # Of NVSS, degrees
NOT_FAILED = " AND (Observation.requirements_flag IS NULL OR Observation.requirements_flag <> 'fail')"


@pytest.fixture(scope="module")
def artificial(): return ArtificialSky(draw_population(TINY, MorphologyClass.__args__), TINY)


@pytest.fixture(scope="module")
def centre(artificial): return locate(artificial.sources[artificial.sources["label"] != ""])[0]


@pytest.fixture(scope="module")
def looks(artificial):
    "The images that CADC lists."
    _, files = _build_tree(artificial.vlass_centres, artificial.corners)
    return _list_quick_looks(artificial.vlass_centres, artificial.vlass_frames, files)


def ask_about(*circle, frame="ICRS"):
    "A query of CADC's tables for the images about a circle."
    return f"SELECT * WHERE INTERSECTS(CIRCLE('{frame}', {', '.join(map(str, circle))}), x) = 1"


def read_rows(answer): return parse_single_table(io.BytesIO(answer.body)).to_table()


def test_tree_has_empty_tiles_and_rounded_names(artificial):
    folders, _ = _build_tree(artificial.vlass_centres, [SkyCoord("13h", "+30d")])
    assert folders[f"{_ROOT}/VLASS2.1/T18t18/"] == []
    assert _name_image(SkyCoord("00h02m29.9999s", "-36d30m"), "VLASS1.1", 1) == \
        "VLASS1.1.ql.T01t01.J000230-363000.10.2048.v1"


def test_fields_of_a_form_are_numbers_in_bounds():
    written = {"+12.5": 12.5, ".1": 0.1, "3": 3, "5.": 5, "1e-05": 1e-5}
    assert {text: _read_number(text, "size", 0, 60) for text in written} == written
    assert _read_values("ID=a&ID=b") == dict(ID=["a", "b"])
    with pytest.raises(_BadRequest, match="not a form"): _read_fields("&".join(f"a{i}=1" for i in range(50)))


@pytest.mark.parametrize("wrong", [dict(RA="12 00 00"), dict(RA="24 00 00 +10 00 00"), dict(ImageSize="1e9"),
                                   dict(ImageType="GIF Image")])
def test_first_refuses_a_form(artificial, wrong):
    form = dict(RA="12 00 00 +30 00 00", Dec="", ImageSize="2.5", ImageType="FITS File")
    with pytest.raises(_BadRequest, match=next(iter(wrong))): _answer_first(artificial, form | wrong)


def test_first_keeps_the_sign_of_minus_zero():
    assert _read_form_position("00 00 00 -00 30 00").dec.deg == -0.5


@pytest.mark.parametrize("wrong", [dict(POS="12"), dict(POS="1,95"), dict(SIZE="90"), dict(POS="<b>,1")])
def test_tgss_refuses_a_query(artificial, wrong):
    with pytest.raises(_BadRequest): _answer_siap(artificial, dict(POS="1,1", SIZE="0.1") | wrong, "")


def test_tgss_has_an_empty_table_outside(artificial):
    assert len(read_rows(_answer_siap(artificial, dict(POS="1,1", SIZE="0.1"), ""))) == 0


VIEW = dict(survey="NVSS", Position="180.1 +30.2", pixels="21", size="0.0875")


@pytest.mark.parametrize("wrong", [dict(survey="DSS"), dict(Position="M31"), dict(Position="M 31"),
                                   dict(Position="1,95"), dict(pixels="21,22"), dict(size="x"), dict(projection="Car")])
def test_skyview_refuses_a_query(wrong):
    with pytest.raises(_BadRequest): _answer_skyview({}, urlencode(VIEW | wrong))


def test_skyview_forgets_its_oldest_files():
    assert _read_skyview(dict(survey="NVSS", Position="180.1,30.2"))[2:] == (300, PIXEL)
    tempspace = {"oldest": None}
    for _ in range(_KEPT_RESULTS): _answer_skyview(tempspace, urlencode(VIEW))
    assert len(tempspace) == _KEPT_RESULTS and "oldest" not in tempspace


@pytest.mark.parametrize("n_pixels, scale", [(20, PIXEL), (21, PIXEL), (300, PIXEL/3)])
def test_skyview_lays_the_position_in_the_middle(artificial, centre, n_pixels, scale):
    view = _lay_out(artificial, centre.ra.deg, centre.dec.deg, n_pixels, scale)
    middle = WCS(view.header).pixel_to_world((n_pixels - 1)/2, (n_pixels - 1)/2).icrs
    assert middle.separation(centre) < 0.1*u.arcsec and np.isfinite(view.data).all()
    assert (view.data.shape, view.header["CTYPE1"], view.header["BUNIT"]) == ((n_pixels,)*2, "RA---TAN", "JY/BEAM")


def test_skyview_takes_the_nearest_pixel(centre):
    counted = fits.PrimaryHDU(np.arange(9., dtype=np.float32).reshape(3, 3), make_header("NVSS", centre, 3))
    finer, halfway = make_wcs("NVSS", centre, 11), make_wcs("NVSS", centre, 3)
    finer.wcs.cdelt /= 3
    halfway.wcs.crpix = [1.5, 1.5]
    nearest = _sample_nearest(counted, finer, 11)
    assert (nearest[1:-1, 1:-1] == np.kron(counted.data, np.ones((3, 3)))).all()
    assert np.isnan(nearest).sum() == 11**2 - 9**2
    assert (_sample_nearest(counted, halfway, 2) == counted.data[1:, 1:]).all()


def test_cadc_lists_each_image_once(artificial, looks):
    assert len(looks) == 2*len(artificial.vlass_centres) + 2 and _list_quick_looks([], [], {}) == []
    assert len({look.publisher for look in looks}) == len({look.uri for look in looks}) == len(looks)


def test_overlap_of_a_circle_and_an_image(artificial, centre):
    frame = artificial.vlass_frames[0]
    overlap = lambda x, y: _find_overlap(frame, SkyCoord(*frame[0].wcs_pix2world(x, y, 0), unit="deg"), 10/3600)
    assert overlap(100, 50) == (slice(40, 61), slice(90, 111)) and overlap(-5, 599) == (slice(589, 600), slice(0, 6))
    meets = {(-9, 300): True, (-11, 300): False, (-7, -7): True, (-8, -8): False, (609, 300): True, (610, 300): False}
    assert {place: overlap(*place) is not None for place in meets} == meets
    assert _find_overlap(frame, SkyCoord(centre.ra + 180*u.deg, -centre.dec), 1.) is None
    corner = fits.HDUList.fromstring(_cut_pixels(artificial.read_vlass(0, "VLASS2.1"), overlap(-5, 599)))[0]
    place = (centre.ra.deg, centre.dec.deg, 0)
    moved = np.subtract(frame[0].wcs_world2pix(*place), [0, 589])
    np.testing.assert_allclose(WCS(corner.header, naxis=2).wcs_world2pix(*place), moved, atol=1e-6)


def test_tap_reads_a_condition_as_sql_does(artificial, looks):
    at = artificial.vlass_centres[0]
    near = ask_about(at.ra.deg, at.dec.deg, 0.01)
    versions = lambda query: [row[1].rpartition(".")[2] for row in _query_images(looks, query)]
    assert versions(near) == ["v1", "v1", "v2", "v3"] and versions(near + NOT_FAILED) == ["v1", "v1", "v2"]
    assert versions(near + " AND Observation.requirements_flag <> 'fail'") == versions(ask_about(1, 1, 1)) == []


@pytest.mark.parametrize("query", ["SELECT * FROM ivoa.obscore", ask_about(1, 1, 1)*2, ask_about(1, 1, 1, frame="FK5"),
                                   ask_about(1, "1e9", 1), ask_about(1, 1, "1;2"), ask_about("nan", 1, 1)])
def test_tap_refuses_a_query(looks, query):
    assert _answer_tap(looks, urlencode(dict(LANG="ADQL", QUERY=query))).status == 400
    assert _answer_tap(looks, urlencode(dict(LANG="<b>", QUERY=ask_about(1, 1, 1)))).status == 400


def test_datalink_describes_each_service(looks):
    answer = _answer_links(looks, "http://127.0.0.1", urlencode(dict(ID=looks[0].publisher)))
    assert answer.body.count(b"adhoc:service") == 2 and len(read_rows(_answer_links(looks, "", ""))) == 0


def test_soda_cuts_the_same_by_either_word(artificial, looks):
    at, uri = artificial.vlass_centres[0], next(look.uri for look in looks if look.index == 0)
    circle = f"{at.ra.deg} {at.dec.deg} 0.01"
    cuts = [_answer_cutout(looks, artificial.read_vlass, urlencode(dict(ID=uri) | words))
            for words in (dict(CIRCLE=circle), dict(POS=f"CIRCLE {circle}"))]
    assert cuts[0] == cuts[1]
    assert _answer_cutout(looks, None, urlencode(dict(ID="nrao:VLASS/x.fits", CIRCLE=circle))).status == 404


@pytest.mark.parametrize("circle", ["1 1", "1 1 0", "1 99 1", "a b c"])
def test_soda_refuses_a_circle(looks, circle):
    with pytest.raises(_BadRequest): _answer_cutout(looks, None, urlencode(dict(ID=looks[0].uri, CIRCLE=circle)))
