//! Who vouches for an archive: signatures as `minisign` makes them, over the archive's bytes.

use minisign_verify::{Error, PublicKey, Signature};

/// The longest signature that is read, in bytes; one has some 300.
pub const SIGNATURE_BYTES_MAX: u64 = 8 << 10;

/// An archive whose signature is not what the operator asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is none.
    #[error("the host's policy requires a signature, and the archive came with none")]
    Required,
    /// A folder, which nobody signs.
    #[error("the host's policy requires a signature, and a folder has none")]
    Folder,
    /// It cannot be read, or was made in the old way.
    #[error("the signature cannot be read: {0}")]
    Malformed(&'static str),
    /// It is of other bytes, or was altered.
    #[error("the signature is not one of `{signer}` over this archive")]
    Invalid {
        /// The public key that the signature names.
        signer: String,
    },
    /// Of an archive that leaves to whoever installs it what it is.
    #[error("the archive is signed, and its manifest has no `id`")]
    NoId,
    /// By none of those that the operator trusts.
    #[error("the archive was signed with a key that the host's policy does not name")]
    UnknownSigner,
}

impl SignatureError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Required | Self::Folder => "signature_required",
            Self::Malformed(_) | Self::Invalid { .. } => "signature_invalid",
            Self::UnknownSigner => "signer_unknown",
            Self::NoId => "signed_without_id",
        }
    }

    /// The cure.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Required => {
                "sign it with `minisign -Sm <archive>` and give the text of `<archive>.minisig` as `signature`; for a URL it \
                 may lie beside the archive"
            }
            Self::Folder => "pack the plugin with `mortise pack`, sign the archive, and install that",
            Self::Malformed(_) => "give the whole text of the `.minisig` file, made by minisign 0.10 or later",
            Self::Invalid { .. } => "sign the very archive that is sent: packing it again makes another one",
            Self::NoId => {
                "write the plugin's `id` into its manifest and sign that: otherwise whoever installs it chooses one"
            }
            Self::UnknownSigner => {
                "have one of the policy's `install.signers` sign it; the operator adds the key there, or leave `signature` out \
                 where none is required"
            }
        }
    }
}

/// Which of `signers` signed the archive; none where there is no signature, and none is `required`. One that is given is
/// verified whatever is required, and is refused where nobody is trusted.
///
/// # Errors
/// [`SignatureError`].
pub fn check_signature(
    archive: &[u8],
    signature: Option<&str>,
    signers: &[String],
    required: bool,
) -> Result<Option<String>, SignatureError> {
    let Some(text) = signature.filter(|text| !text.trim().is_empty()) else {
        return if required { Err(SignatureError::Required) } else { Ok(None) };
    };
    if text.len() as u64 > SIGNATURE_BYTES_MAX {
        return Err(SignatureError::Malformed("it is too long"));
    }
    let signature = Signature::decode(text).map_err(|_| SignatureError::Malformed("it is none of minisign's"))?;
    for signer in signers {
        let Ok(key) = PublicKey::from_base64(signer) else { continue };
        match key.verify(archive, &signature, false) {
            Ok(()) => return Ok(Some(signer.clone())),
            Err(Error::UnexpectedKeyId) => {}
            Err(Error::UnexpectedAlgorithm | Error::UnsupportedLegacyMode) => {
                return Err(SignatureError::Malformed("it is of the old kind, which is not over a hash"));
            }
            Err(_) => return Err(SignatureError::Invalid { signer: signer.clone() }),
        }
    }
    Err(SignatureError::UnknownSigner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    const KEY: &str = "RWSbhUHEuNjcE+c3glOFgUKjKlsrcUU6x4OVrNoenocQsMCSt/lUzlH6";
    const OTHER: &str = "RWSBOsxh/8Al5Oux7g0J5ED76M4KHcAKEmYLSxPQ7dG3GYdgaLINvrYL";

    fn archive() -> Vec<u8> {
        STANDARD.decode(include_str!("../tests/signed/archive.base64").trim()).unwrap()
    }

    fn check(signature: &str, signers: &[&str]) -> Result<Option<String>, SignatureError> {
        let signers: Vec<String> = signers.iter().map(|signer| (*signer).to_owned()).collect();
        check_signature(&archive(), Some(signature), &signers, false)
    }

    #[test]
    fn a_signature_tells_which_key_made_it() {
        let signature = include_str!("../tests/signed/archive.minisig");
        assert_eq!(check(signature, &[OTHER, KEY]), Ok(Some(KEY.to_owned())));
        assert_eq!(check(&signature.replace('\n', "\r\n"), &[KEY]), Ok(Some(KEY.to_owned())));
        assert_eq!(check(signature, &[OTHER]), Err(SignatureError::UnknownSigner));
        assert_eq!(check(signature, &[]), Err(SignatureError::UnknownSigner), "nobody is trusted");
        let invalid = Err(SignatureError::Invalid { signer: KEY.to_owned() });
        let mut other = archive();
        other[100] ^= 1;
        assert_eq!(check_signature(&other, Some(signature), &[KEY.to_owned()], false), invalid);
        // The comment is signed as well.
        assert_eq!(check(&signature.replace("signed.tgz 1.0", "signed.tgz 9.9"), &[KEY]), invalid);
        for odd in ["x", "a\nb\nc\nd", &"x\n".repeat(9000)] {
            assert_eq!(check(odd, &[KEY]).unwrap_err().code(), "signature_invalid");
        }
    }

    #[test]
    fn what_is_signed_in_the_old_way_is_not_taken() {
        let signature = include_str!("../tests/signed/archive.minisig");
        // The algorithm's two letters: `ED` over a hash, `Ed` over the bytes themselves.
        let line = signature.lines().nth(1).unwrap();
        let mut bytes = STANDARD.decode(line).unwrap();
        assert_eq!(&bytes[..2], b"ED");
        bytes[1] = b'd';
        let old = signature.replace(line, &STANDARD.encode(bytes));
        assert!(matches!(check(&old, &[KEY]), Err(SignatureError::Malformed(_))));
    }

    #[test]
    fn without_a_signature_it_depends_on_what_is_required() {
        for absent in [None, Some(""), Some(" \n")] {
            assert_eq!(check_signature(b"x", absent, &[KEY.to_owned()], false), Ok(None));
            assert_eq!(check_signature(b"x", absent, &[KEY.to_owned()], true), Err(SignatureError::Required));
        }
    }
}
