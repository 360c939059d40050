"""nkey.py - logs in at NATS with an NKey: the server's nonce, signed with the seed. OpenSSL does the Ed25519.

    Bus(url, login=nkey_login(seed_file, public_key))
"""
import base64
import ctypes
import ctypes.util
import pathlib

ED25519 = 1087  # OpenSSL's NID


def _crypto():
    lib = ctypes.CDLL(ctypes.util.find_library("crypto") or "libcrypto.so.3")
    lib.EVP_PKEY_new_raw_private_key.restype = ctypes.c_void_p
    lib.EVP_MD_CTX_new.restype = ctypes.c_void_p
    return lib


def _sign(secret, data):
    lib, size = _crypto(), ctypes.c_size_t(64)
    signature = ctypes.create_string_buffer(64)
    key = ctypes.c_void_p(lib.EVP_PKEY_new_raw_private_key(ED25519, None, secret, ctypes.c_size_t(len(secret))))
    context = ctypes.c_void_p(lib.EVP_MD_CTX_new())
    try:
        good = key and context and lib.EVP_DigestSignInit(context, None, None, None, key) == 1 and lib.EVP_DigestSign(
            context, signature, ctypes.byref(size), data, ctypes.c_size_t(len(data))) == 1
    finally:
        lib.EVP_MD_CTX_free(context)
        lib.EVP_PKEY_free(key)
    if not good or size.value != 64:
        raise ValueError("OpenSSL does not sign")
    return signature.raw


def nkey_login(seed_file, public_key):
    """What Bus takes as login."""
    seed = pathlib.Path(seed_file).read_text().strip()
    secret = base64.b32decode(seed + "=" * (-len(seed) % 8))[2:-2]  # less the prefix and the checksum

    def login(info):
        signature = _sign(secret, info["nonce"].encode())
        return {"nkey": public_key, "sig": base64.urlsafe_b64encode(signature).decode().rstrip("=")}
    return login
