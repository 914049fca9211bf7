"""In the place of Python's `ssl`, which needs OpenSSL: what HTTP clients ask of it. The host does TLS, and always verifies.

A context accepts what makes no difference. What would make one and cannot be had, as certificates of one's own, is refused.
"""

import enum
import socket as _socket
from collections import namedtuple

OPENSSL_VERSION = "OpenSSL 3.0.0 (in name only: the host does TLS)"
OPENSSL_VERSION_INFO = (3, 0, 0, 0, 0)
OPENSSL_VERSION_NUMBER = 0x30000000
HAS_SNI = HAS_ALPN = HAS_ECDH = HAS_NEVER_CHECK_COMMON_NAME = HAS_TLSv1_2 = HAS_TLSv1_3 = True
HAS_NPN = HAS_SSLv2 = HAS_SSLv3 = HAS_TLSv1 = HAS_TLSv1_1 = HAS_PSK = False
CHANNEL_BINDING_TYPES = []


class SSLError(OSError):
    """What goes wrong in TLS, in the host's words."""

    library = reason = None


class SSLCertVerificationError(SSLError, ValueError):
    """The other side's certificate was not accepted."""

    verify_code = 0
    verify_message = ""


class SSLZeroReturnError(SSLError):
    """Never raised here."""


class SSLWantReadError(SSLError):
    """Never raised here."""


class SSLWantWriteError(SSLError):
    """Never raised here."""


class SSLSyscallError(SSLError):
    """Never raised here."""


class SSLEOFError(SSLError):
    """Never raised here."""


CertificateError = SSLCertVerificationError
socket_error = OSError


class VerifyMode(enum.IntEnum):
    CERT_NONE = 0
    CERT_OPTIONAL = 1
    CERT_REQUIRED = 2


class TLSVersion(enum.IntEnum):
    MINIMUM_SUPPORTED = -2
    SSLv3 = 768
    TLSv1 = 769
    TLSv1_1 = 770
    TLSv1_2 = 771
    TLSv1_3 = 772
    MAXIMUM_SUPPORTED = -1


class Options(enum.IntFlag):
    OP_ALL = 0x80000050
    OP_NO_SSLv2 = 0
    OP_NO_SSLv3 = 0x02000000
    OP_NO_TLSv1 = 0x04000000
    OP_NO_TLSv1_1 = 0x10000000
    OP_NO_TLSv1_2 = 0x08000000
    OP_NO_TLSv1_3 = 0x20000000
    OP_NO_COMPRESSION = 0x20000
    OP_NO_TICKET = 0x4000
    OP_NO_RENEGOTIATION = 0x40000000
    OP_CIPHER_SERVER_PREFERENCE = 0x400000
    OP_SINGLE_DH_USE = 0
    OP_SINGLE_ECDH_USE = 0
    OP_IGNORE_UNEXPECTED_EOF = 0x80
    OP_ENABLE_MIDDLEBOX_COMPAT = 0x100000


class VerifyFlags(enum.IntFlag):
    VERIFY_DEFAULT = 0
    VERIFY_CRL_CHECK_LEAF = 0x4
    VERIFY_CRL_CHECK_CHAIN = 0xC
    VERIFY_X509_STRICT = 0x20
    VERIFY_X509_TRUSTED_FIRST = 0x8000
    VERIFY_X509_PARTIAL_CHAIN = 0x80000


class AlertDescription(enum.IntEnum):
    ALERT_DESCRIPTION_CLOSE_NOTIFY = 0


class _SSLMethod(enum.IntEnum):
    PROTOCOL_TLS = 2
    PROTOCOL_TLS_CLIENT = 16
    PROTOCOL_TLS_SERVER = 17
    PROTOCOL_TLSv1_2 = 5


class Purpose(enum.Enum):
    SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
    CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"


for _enum in (VerifyMode, Options, VerifyFlags, AlertDescription, _SSLMethod):
    globals().update(_enum.__members__)
PROTOCOL_SSLv23 = PROTOCOL_TLS = _SSLMethod.PROTOCOL_TLS

DefaultVerifyPaths = namedtuple(
    "DefaultVerifyPaths", "cafile capath openssl_cafile_env openssl_cafile openssl_capath_env openssl_capath"
)

_BY_HOST = "the host does TLS: use an HTTP client"


class SSLContext:
    """Settings that the host has for all."""

    def __init__(self, protocol=PROTOCOL_TLS) -> None:
        self.protocol = protocol
        self.verify_mode = VerifyMode.CERT_REQUIRED
        self.verify_flags = VerifyFlags.VERIFY_X509_TRUSTED_FIRST
        self.check_hostname = True
        self.options = Options.OP_ALL
        self.minimum_version = TLSVersion.TLSv1_2
        self.maximum_version = TLSVersion.MAXIMUM_SUPPORTED
        self.keylog_filename = None
        self.post_handshake_auth = False
        self.hostname_checks_common_name = False
        self.sni_callback = None

    def wrap_socket(self, sock, server_side=False, do_handshake_on_connect=True, suppress_ragged_eofs=True,
                    server_hostname=None, session=None):
        """The same socket, whose requests are `https` from here on."""
        if server_side or not hasattr(sock, "start_tls"):
            raise SSLError(1, _BY_HOST)
        sock.start_tls(server_hostname)
        return sock

    def wrap_bio(self, *_args, **_options):
        raise SSLError(1, _BY_HOST)

    def load_cert_chain(self, *_args, **_options) -> None:
        raise SSLError(1, "a plugin cannot show a certificate of its own: the host does TLS")

    def load_verify_locations(self, cafile=None, capath=None, cadata=None) -> None:
        """Without effect: the operator says whom the host trusts."""

    def load_default_certs(self, purpose=Purpose.SERVER_AUTH) -> None:
        """Without effect."""

    set_default_verify_paths = set_ciphers = set_alpn_protocols = set_npn_protocols = load_default_certs
    set_ecdh_curve = load_dh_params = set_servername_callback = load_default_certs

    def get_ca_certs(self, binary_form=False) -> list:
        return []

    def get_ciphers(self) -> list:
        return []

    def cert_store_stats(self) -> dict:
        return {"x509": 0, "crl": 0, "x509_ca": 0}

    def session_stats(self) -> dict:
        return {}


def create_default_context(purpose=Purpose.SERVER_AUTH, *, cafile=None, capath=None, cadata=None) -> SSLContext:
    return SSLContext()


def _create_unverified_context(*_args, **_options) -> SSLContext:
    return SSLContext()


_create_default_https_context = _create_stdlib_context = create_default_context


class SSLSocket(_socket.socket):
    """Sockets are never of this class: see `SSLContext.wrap_socket`."""


class SSLObject:
    """Never made: see `SSLContext.wrap_bio`."""


class SSLSession:
    """Never made."""


class MemoryBIO:
    """TLS in memory, which nobody needs here."""

    def __init__(self) -> None:
        raise SSLError(1, _BY_HOST)


def get_default_verify_paths() -> DefaultVerifyPaths:
    return DefaultVerifyPaths(None, None, "SSL_CERT_FILE", "", "SSL_CERT_DIR", "")


def get_server_certificate(*_args, **_options):
    raise SSLError(1, _BY_HOST)


def match_hostname(*_args, **_options) -> None:
    """Without effect: the host has seen to it."""


def RAND_bytes(count: int) -> bytes:
    import os

    return os.urandom(count)


def RAND_status() -> bool:
    return True
