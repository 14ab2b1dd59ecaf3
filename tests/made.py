"Made images, tables of tiles and trees of images, as the archives have them, served by a server that misbehaves."
import io
from dataclasses import replace

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from faulty import say

from radiogal.archives import _find_tile, _name_image, _show_index
from radiogal.clients import _VLASS_SUFFIX, ArchiveAccess
from radiogal.fetch import Fetcher, Limits, Manifest
from radiogal.scraping import fetch_cutouts
from radiogal.sky import encode_fits, make_header, make_wcs
from radiogal.surveys import LIVE_SERVICES

MORE_AXES = dict(CTYPE3="FREQ", CRVAL3=1.4e9, CDELT3=1e6, CRPIX3=1., CTYPE4="STOKES", CRVAL4=1., CDELT4=1., CRPIX4=1.)
HEADINGS = ["Tile     Dec min  Dec max   RA min   RA max    Observing     Observation         Quick Look",
            "Name      (deg)    (deg)     (h)      (h)      Epoch         Date (UT)           Status", "-"*97]
OK, OVERFLOW, ERROR = (f'<INFO name="QUERY_STATUS" value="{status}"/>' for status in ("OK", "OVERFLOW", "ERROR"))
FIELDS = """<FIELD name="accref" datatype="char" arraysize="*" ucd="VOX:Image_AccessReference"/>
<FIELD name="mime" datatype="char" arraysize="*" ucd="VOX:Image_Format"/>"""


def write_votable(data="<TABLEDATA/>", fields=FIELDS, status=OK, before="", after="", nrows="", version="1.3"):
    "A service's VOTable, in parts."
    return (f'<?xml version="1.0"?><VOTABLE version="{version}" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
            f'{before}'
            f'<RESOURCE type="results">{status}<TABLE{nrows}>{fields}<DATA>{data}</DATA></TABLE>{after}'
            '</RESOURCE></VOTABLE>').encode()


def make_field(survey, coord, side):
    "A piece of sky: noise on a survey's pixels, and where they are."
    rng = np.random.default_rng(5)
    return rng.normal(0, 1e-4, (side, side)).astype(np.float32), make_wcs(survey, coord, side)


def write_image(data, wcs, axes=2, **cards):
    "A FITS file, with 2 or 4 axes; a card that is None is left out."
    header = wcs.to_header()
    header.update(dict(BUNIT="JY/BEAM", BMAJ=5.4/3600, BMIN=5.4/3600, BPA=0.))
    if axes == 4: header.update(MORE_AXES)
    for key, value in cards.items():
        header.pop(key) if value is None else header.set(key, value)
    buffer = io.BytesIO()
    fits.PrimaryHDU(data.reshape((1,)*(axes - 2) + data.shape), header).writeto(buffer)
    return buffer.getvalue()


def write_centred(survey, coord, side=93, **more):
    "A FITS file of noise about a position."
    return write_image(*make_field(survey, coord, side), **more)


def list_tiles(rows):
    "The table of tiles: rows of a position in the tile, epoch, date and status."
    lines = []
    for coord, epoch, date, status in rows:
        name, dec, ra = _find_tile(coord)
        lines.append(f"{name:<6}{dec[0]:9.2f}{dec[1]:9.2f}{ra[0]:9.2f}{ra[1]:9.2f}     "
                     f"{epoch:<8}      {date:<10}{status:>26}")
    return "\n".join([*HEADINGS, *lines]) + "\n"


class Tree:
    "A VLASS archive of small images."
    def __init__(self, server):
        self.server, self.folders, self.rows = server, {"/ql/": []}, []

    def add_tile(self, coord, epoch, folder=None, status="100% imaged"):
        "A tile in the table, and its folder, which is returned; `folder` is the epoch's, if it has another name."
        if epoch: self.rows.append((coord, epoch, "2020-09-11" if status == "100% imaged" else "", status))
        top = f"/ql/{folder or epoch}/"
        path = f"{top}{_find_tile(coord)[0]}/"
        for parent, entry in (("/ql/", top), (top, path)):
            name = entry.removeprefix(parent)
            if name not in self.folders.setdefault(parent, []): self.folders[parent].append(name)
        self.folders.setdefault(path, [])
        return path

    def add_image(self, parent, centre, epoch, version, content):
        "An image in a tile's folder; returns its path."
        name = _name_image(centre, epoch, version)
        self.folders[parent].append(f"{name}/")
        path = f"{parent}{name}/{name}{_VLASS_SUFFIX}"
        self.server.answer(path, say(content))
        return path

    def open_services(self):
        "Answers to all that was added."
        for path, entries in self.folders.items(): self.server.answer(path, say(_show_index(path, entries)))
        self.server.answer("/tiles", say(list_tiles(self.rows).encode()))
        return open_services(self.server)


def open_services(server, **addresses):
    "All services on one server."
    paths = dict(first_cutout="/first", vlass_tiles="/tiles", vlass_images="/ql", vlass_tap="/tap",
                 vlass_datalink="/links", tgss_siap="/siap", skyview="/skyview", vizier="/vizier")
    return replace(LIVE_SERVICES, **{key: f"http://{server.host}{path}" for key, path in paths.items()} | addresses,
                   allowed_hosts=(server.host,), seconds_between_requests=0.)


def scrape(case, coords, survey, services, side=83, **more):
    "Cutouts as a table, and the manifest's rows."
    fetcher = Fetcher(Manifest(case.folder/"raw"/"manifest.sqlite"), services.allowed_hosts,
                      Limits(tries=2, wait_s=0.01, max_wait_s=0.05, failures=100), 0)
    if survey == "VLASS": more = dict(vlass_route="images") | more
    size = side*dict(FIRST=1.8, VLASS=1., TGSS=6.2, NVSS=15.)[survey]*u.arcsec
    table = fetch_cutouts(coords, survey, size, ArchiveAccess(fetcher, case.folder/"raw", services),
                          case.folder/"cutouts", root=case.folder, **more)
    assert not list(case.folder.rglob("*.part*"))
    assert len(list(case.folder.glob("cutouts/**/*.fits"))) == (table["state"] == "ok").sum()
    return table, fetcher.manifest.read_all()


def read_pixels(case, row):
    "A cutout that was written: its pixels, and its celestial coordinates."
    with fits.open(case.folder/row["path"], memmap=False) as hdus:
        return hdus[0].data, WCS(hdus[0].header), hdus[0].header


class Mosaic:
    "VLASS as `serve_archives` takes it: small images about centres, with a source at each position."
    corners = ()

    def __init__(self, centres, side, coords):
        self.vlass_centres, self.side, self.coords, self.fingerprint = list(centres), side, coords, "0"*64
        self.vlass_frames = [(make_wcs("VLASS", centre, side), side, side) for centre in self.vlass_centres]

    def read_vlass(self, index, epoch):
        "The same noise in each epoch; sources are Gaussians of several widths."
        data, centre = np.random.default_rng(index).normal(0, 1e-4, (self.side, self.side)), self.vlass_centres[index]
        x, y = self.vlass_frames[index][0].world_to_pixel(self.coords)
        for i in np.flatnonzero((np.abs(x - self.side/2) < self.side/2) & (np.abs(y - self.side/2) < self.side/2)):
            rows, columns = np.ogrid[:self.side, :self.side]
            data += 0.01*np.exp(-((columns - x[i])**2/(4 + i % 7) + (rows - y[i])**2/(4 + i % 5))/2)
        header = make_header("VLASS", centre, self.side)
        return encode_fits(fits.PrimaryHDU(data.astype(np.float32)[None, None], header))


def draw_in_images(centres, per_image, reach, seed=1):
    "Positions around centres, in any order: so many around each, at most `reach` degrees away in each coordinate."
    rng = np.random.default_rng(seed)
    ra, dec = np.repeat([[c.ra.deg for c in centres], [c.dec.deg for c in centres]], per_image, axis=1)
    east, north = rng.uniform(-reach, reach, (2, len(ra)))
    order = rng.permutation(len(ra))
    return SkyCoord(ra + east/np.cos(np.radians(dec)), dec + north, unit="deg")[order]
