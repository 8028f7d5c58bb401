"""Access tokens that are forged, bent or of another kind: each is a 401, on every door, and says nothing."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from tests.security.forge import Forge, assemble, b64, hs, now_s, unsigned
from tests.security.guarded import CROWN, Guarded, Login, bearer, leaks

PATHS = (
    f"/kv/{CROWN}",
    "/kv/open/door",
    "/auth/verify",
    "/kv",
    "/services/",
    "/cluster/status",
    "/openapi.json",
)


@pytest.fixture(scope="module")
def forge(guarded: Guarded) -> Forge:
    """Variants of an admin's token: what gets through would open everything."""
    return Forge(guarded.login(roles=("admin",)).token, guarded.signing_secret)


def refused(guarded: Guarded, token: str, *errors: str) -> None:
    """No door takes it; the words are the contract's, the challenge names the scheme (RFC 6750, 3)."""
    for path in PATHS:
        answer = guarded.get(path, bearer(token))
        assert answer.status == 401, (path, answer.status, answer.body[:200])
        assert answer.headers["www-authenticate"].startswith('Bearer realm="konsul"')
        assert not leaks(answer)
        assert answer.json()["error"] in (errors or ("invalid token",)), answer.body
    asked = guarded.ask("POST", "/graphql", {"query": "{ __typename }"}, bearer(token))
    assert asked.status == 401
    stored = guarded.ask("PUT", f"/kv/{CROWN}", {"value": "taken"}, bearer(token))
    assert stored.status == 401


def test_the_token_that_the_forgeries_are_made_of_is_good(guarded: Guarded, forge: Forge) -> None:
    for token in (forge.token, forge.claiming(), forge.headed()):
        assert guarded.get(f"/kv/{CROWN}", bearer(token)).status == 200


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", " none", "none\x00"])
def test_alg_none(guarded: Guarded, forge: Forge, name: str) -> None:
    refused(guarded, forge.headed(unsigned, alg=name))
    refused(guarded, forge.headed(alg=name))


@pytest.mark.parametrize("digest", ["sha384", "sha512"])
def test_another_hmac_than_the_keys_own(guarded: Guarded, forge: Forge, digest: str) -> None:
    secret = guarded.signing_secret.encode()
    refused(guarded, forge.headed(hs(secret, digest), alg=f"HS{digest[3:]}"))


@pytest.mark.parametrize(
    "alg", [None, 256, ["HS256"], {"alg": "HS256"}, "hs256", "HS256 ", "RS256", "EdDSA", "ES256", "dir"]
)
def test_an_algorithm_that_is_no_name_or_not_ours(guarded: Guarded, forge: Forge, alg: object) -> None:
    refused(guarded, forge.headed(alg=alg))


def test_no_algorithm(guarded: Guarded, forge: Forge) -> None:
    refused(guarded, forge.headed(alg=...))


def test_keys_that_the_token_itself_brings(guarded: Guarded, forge: Forge) -> None:
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    curve = ec.generate_private_key(ec.SECP256R1())
    numbers = own.public_key().public_numbers()
    jwk = {
        "kty": "RSA",
        "n": b64(numbers.n.to_bytes(256, "big")),
        "e": b64(numbers.e.to_bytes(3, "big")),
    }

    def rs256(signed: bytes) -> bytes:
        return own.sign(signed, padding.PKCS1v15(), SHA256())

    def es256(signed: bytes) -> bytes:
        return curve.sign(signed, ec.ECDSA(SHA256()))

    refused(guarded, forge.headed(rs256, alg="RS256", jwk=jwk))
    refused(guarded, forge.headed(rs256, alg="RS256", jku="http://127.0.0.1:1/keys.json"))
    refused(guarded, forge.headed(rs256, alg="RS256", x5u="http://127.0.0.1:1/cert.pem"))
    refused(guarded, forge.headed(es256, alg="ES256", jwk={"kty": "EC", "crv": "P-256"}))
    refused(
        guarded,
        forge.headed(hs(b"attacker's own secret, long enough"), jwk={"kty": "oct", "k": b64(b"a" * 32)}),
    )


def test_headers_that_change_what_is_signed(guarded: Guarded, forge: Forge) -> None:
    # RFC 7515 section 4.1.11: what `crit` names and is not understood refuses the token; RFC 7797's unencoded
    # payload is such a thing.
    refused(guarded, forge.headed(crit=["b64"], b64=False))
    refused(guarded, forge.headed(crit=["exp"], exp=now_s()))
    refused(guarded, forge.headed(crit=[]))


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/dev/null",
        "/proc/self/environ",
        "jwt.secret",
        "' OR '1'='1",
        "x' UNION SELECT 'a' --",
        "$(id)",
        "|/bin/true",
        "%00",
        "\x00",
        "",
        "k" * 3_000,
        "🔑",
    ],
    ids=lambda kid: repr(kid)[:24],
)
def test_a_kid_that_leads_elsewhere(guarded: Guarded, forge: Forge, kid: str) -> None:
    for secret in (b"", b"\n", b"\x00", kid.encode()):
        refused_or_too_long(guarded, forge.headed(hs(secret), kid=kid))


@pytest.mark.parametrize("kid", [0, -1, 1.5, True, ["a"], {"kid": "a"}])
def test_a_kid_that_is_no_text(guarded: Guarded, forge: Forge, kid: object) -> None:
    for secret in (b"", b"None", b"null"):
        refused(guarded, forge.headed(hs(secret), kid=kid))


def refused_or_too_long(guarded: Guarded, token: str) -> None:
    """As `refused`; a head over its limit is refused before anybody looks at the token."""
    if len(token) > 3_500:
        assert guarded.get(f"/kv/{CROWN}", bearer(token)).status == 431
    else:
        refused(guarded, token)


def test_a_null_kid_does_not_choose_an_empty_key(guarded: Guarded, forge: Forge) -> None:
    for secret in (b"", b"null", b"None"):
        refused(guarded, forge.headed(hs(secret), kid=None))


@pytest.mark.parametrize("secret", [b"", b"secret", b"konsul", b"your-secret-key", b"changeme"])
def test_a_guessed_secret(guarded: Guarded, forge: Forge, secret: bytes) -> None:
    refused(guarded, forge.headed(hs(secret)))


def test_bits_of_the_signature_and_of_what_is_signed(guarded: Guarded, forge: Forge) -> None:
    header, claims, signature = forge.token.split(".")
    flipped = b64(bytes([forge.signature[0] ^ 1]) + forge.signature[1:])
    for token in (
        f"{header}.{claims}.{flipped}",
        f"{header}.{claims}.{b64(forge.signature[:16])}",
        f"{header}.{claims}.",
        f"{header}.{b64(json.dumps(forge.claims | {'user_id': 'somebody'}).encode())}.{signature}",
        f"{header}.{claims}.{signature}.{signature}",
        f"{header}.{claims}",
        f"..{signature}",
        "..",
        ".",
        "a.b.c",
        f"{header}.{claims}.{signature}=",
        f"{header}.{claims}.{signature}A",
        f"{header}!.{claims}.{signature}",
        f"{header}.{claims}.{signature}\t",
    ):
        answer = guarded.get(f"/kv/{CROWN}", bearer(token))
        # White space at the end of a field's value is no part of it (RFC 9110 section 5.5).
        if not token.endswith("\t"):
            assert answer.status == 401, token
            assert not leaks(answer)


@pytest.mark.parametrize(
    "literal",
    ["-1", "0", "1", "1.5", "-1e9", "1e-9", '"9999999999"', "true", "null", "[9999999999]", '{"a":1}', '""'],
)
def test_an_exp_that_is_over_or_is_no_time(guarded: Guarded, forge: Forge, literal: str) -> None:
    refused(guarded, forge.claiming_text("exp", literal), "invalid token", "token expired")


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_an_exp_that_json_does_not_have(guarded: Guarded, forge: Forge, literal: str) -> None:
    refused(guarded, forge.claiming_text("exp", literal), "invalid token", "token expired")


def test_an_exp_beyond_all_numbers_never_fails_inside(guarded: Guarded, forge: Forge) -> None:
    for literal in ("9" * 400, "9" * 30, "1e300", "18446744073709551616"):
        answer = guarded.get(f"/kv/{CROWN}", bearer(forge.claiming_text("exp", literal)))
        # Rightly signed, so only the server itself can have made it: either answer is sound, a 500 is not.
        assert answer.status in (200, 401), literal
        if answer.status == 401:
            assert answer.json()["error"] == "invalid token"


def test_no_exp_and_no_claims_at_all(guarded: Guarded, forge: Forge) -> None:
    refused(guarded, forge.claiming(exp=...))
    for claims in ("{}", "[]", "null", "1", '"text"', "", "{", "[" * 400):
        refused(guarded, assemble(forge.header, claims, forge.sign))


def test_expired_and_not_yet_valid(guarded: Guarded, forge: Forge) -> None:
    refused(guarded, forge.claiming(exp=now_s() - 60), "token expired")
    refused(guarded, forge.claiming(nbf=now_s() + 600))
    refused(guarded, forge.claiming_text("nbf", '"soon"'))


@pytest.mark.parametrize("issuer", ["somebody", "", "konsul ", "KONSUL", None, 5, ["konsul"], ...])
def test_another_issuer(guarded: Guarded, forge: Forge, issuer: object) -> None:
    refused(guarded, forge.claiming(iss=issuer))


@pytest.mark.parametrize("audience", ["another-service", ["another-service"], [], "", 5, {"konsul": 1}])
def test_another_audience(guarded: Guarded, forge: Forge, audience: object) -> None:
    refused(guarded, forge.claiming(aud=audience))


@pytest.mark.parametrize("kind", ["refresh", "ACCESS", "id", "", None, 1, ["access"], ...])
def test_another_type(guarded: Guarded, forge: Forge, kind: object) -> None:
    refused(guarded, forge.claiming(typ=kind))


def test_a_refresh_token_is_no_access_token_nor_the_other_way(guarded: Guarded, attacker: Login) -> None:
    refused(guarded, attacker.refresh_token)
    answer = guarded.ask("POST", "/auth/refresh", {"refresh_token": attacker.token})
    assert answer.status == 401
    assert answer.json() == {"error": "invalid refresh token"}
    # And neither try has ended the login.
    assert guarded.get("/kv/open/door", attacker.headers).status == 200


def test_claims_of_rights_are_not_believed(guarded: Guarded, attacker: Login) -> None:
    """Roles and policies come from the server's own rows, so that even a leaked secret cannot add any to a
    login that lives."""
    forge = Forge(attacker.token, guarded.signing_secret)
    for token in (forge.claiming(roles=["admin"]), forge.claiming(policies=["attacker", "admin"])):
        answer = guarded.get(f"/kv/{CROWN}", bearer(token))
        assert answer.status in (401, 403)
        assert not leaks(answer)


def test_a_login_that_never_was(guarded: Guarded, forge: Forge) -> None:
    for changed in ({"sid": "f" * 32}, {"sid": ""}, {"sid": None}, {"sid": 5}, {"sid": ...}):
        refused(guarded, forge.claiming(**changed), "invalid token", "token revoked")


def test_a_login_of_somebody_else(guarded: Guarded, attacker: Login, forge: Forge) -> None:
    """The login names its user; a token that names another one is not of this login."""
    mine = Forge(attacker.token, guarded.signing_secret)
    theirs = forge.claims["user_id"]
    answer = guarded.get(f"/kv/{CROWN}", bearer(mine.claiming(user_id=theirs, sub=theirs)))
    assert answer.status in (401, 403)
    assert not leaks(answer)


def test_a_public_key_is_no_secret(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Algorithm confusion: what everybody may read at /auth/jwks must not verify an HMAC."""
    folder = tmp_path_factory.mktemp("pem")
    keys = folder / "keys"
    keys.mkdir()
    signing: dict[str, ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey] = {
        "ed": ed25519.Ed25519PrivateKey.generate(),
        "rs": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    }
    for name, key in signing.items():
        path = keys / f"{name}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        path.chmod(0o600)
    settings = {"KONSUL_JWT_KEY_DIR": str(keys), "KONSUL_JWT_KEY_ID": "ed", "KONSUL_JWT_SECRET_FILE": ""}
    with Guarded(folder, settings) as server:
        server.furnish()
        token = server.login(roles=("admin",)).token
        assert server.get(f"/kv/{CROWN}", bearer(token)).status == 200
        forge = Forge(token, "unused")
        assert forge.header["alg"] == "EdDSA"
        published = json.dumps(server.get("/auth/jwks").json())
        assert "private" not in published.lower()
        assert '"d"' not in published
        for name, key in signing.items():
            for form, encoding in (
                (serialization.PublicFormat.SubjectPublicKeyInfo, serialization.Encoding.PEM),
                (serialization.PublicFormat.SubjectPublicKeyInfo, serialization.Encoding.DER),
            ):
                public = key.public_key().public_bytes(encoding, form)
                for secret in (public, public.strip()):
                    for alg, digest in (("HS256", "sha256"), ("HS512", "sha512")):
                        refused(server, forge.headed(hs(secret, digest), alg=alg, kid=name))
        refused(server, forge.headed(unsigned, alg="none"))
        refused(server, forge.headed(alg="RS256", kid="ed"))
        refused(server, forge.headed(alg="RS256", kid="rs"))
