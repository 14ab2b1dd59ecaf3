"Encrypted connections, on this machine: certificates are checked, deadlines hold, no redirect leads out of encryption."
import datetime
import ipaddress
import ssl
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from radiogal.fetch import Fetcher, FetchError, Limits, Manifest, Wanted


class Handler(BaseHTTPRequestHandler):
    "Answers by path: a whole file, a trickle, or a redirect to plain http."
    def log_message(self, *args): pass

    def do_GET(self):
        if self.path == "/plain":
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/whole")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", "12")
        self.end_headers()
        with suppress(OSError):
            for byte in b"radio galaxy":
                self.wfile.write(bytes([byte]))
                if self.path == "/trickle": time.sleep(0.5)


def make_certificate(folder):
    "A certificate for 127.0.0.1 that signs itself, and its key, in one file."
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=True)
        .sign(key, hashes.SHA256()))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption())
    path = folder/"certificate.pem"
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def certificate(tmp_path): return make_certificate(tmp_path)


@pytest.fixture
def host(certificate):
    "A server that speaks TLS only."
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # Clients that leave are part of the test
        threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.05), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def fetch(host, path, folder, total_s=300):
    fetcher = Fetcher(Manifest(folder/"manifest.sqlite"), (host,), Limits(total_s=total_s, tries=2, wait_s=0.01), 0)
    return fetcher.get_file(Wanted(f"https://{host}/{path}", folder/"file")).read_bytes()


def test_trusted_server_is_read_within_the_deadline(host, certificate, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert fetch(host, "whole", tmp_path) == b"radio galaxy"
    with pytest.raises(FetchError, match="retry: .*not whole after 3 s"): fetch(host, "trickle", tmp_path, 3)
    with pytest.raises(FetchError, match="reject: redirect from https to 'http://"): fetch(host, "plain", tmp_path)


def test_unknown_certificate_is_refused(host, tmp_path):
    with pytest.raises(FetchError, match="CERTIFICATE_VERIFY_FAILED"): fetch(host, "whole", tmp_path)
    assert not (tmp_path/"file").exists()
