use nkeys::KeyPair;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{AcceptedKeys, DocumentKind, Refusal, RunsKey, sign};
use crate::error::FleetError;

const OFFER: DocumentKind = DocumentKind::Offer;

fn key() -> RunsKey {
    let folder = tempfile::tempdir().unwrap();
    RunsKey::create(&folder.path().join("key")).unwrap()
}

fn accepting(keys: &[&RunsKey]) -> AcceptedKeys {
    AcceptedKeys::parse(&keys.iter().map(|key| key.public()).collect::<Vec<_>>()).unwrap()
}

fn open(accepted: &AcceptedKeys, content: &[u8]) -> Result<String, Refusal> {
    accepted.open(OFFER, content)
}

#[test]
fn documents_are_accepted_only_by_their_key() {
    let (ours, next, other) = (key(), key(), key());
    let (signed, unsigned) = (sign(OFFER, &"run", Some(&ours)), sign(OFFER, &"run", None));
    for accepted in [accepting(&[&ours]), accepting(&[&next, &ours])] {
        assert_eq!(open(&accepted, &signed), Ok("run".to_owned()));
        let refused = open(&accepted, &unsigned);
        assert!(matches!(&refused, Err(Refusal::Key(why)) if why.contains("not signed")));
        let refused = open(&accepted, &sign(OFFER, &"run", Some(&other)));
        assert!(matches!(&refused, Err(Refusal::Key(why)) if why.contains(&other.public())));
    }
    assert_eq!(open(&AcceptedKeys::Unsigned, &unsigned), Ok("run".to_owned()));
    let refused = open(&AcceptedKeys::Unsigned, &signed);
    assert!(matches!(&refused, Err(Refusal::Key(why)) if why.contains(&ours.public())));
}

#[test]
fn changed_documents_are_invalid() {
    let ours = key();
    let accepted = accepting(&[&ours]);
    let signed = String::from_utf8(sign(OFFER, &"run", Some(&ours))).unwrap();
    let changed = signed.replace("run", "ruin");
    assert_eq!(open(&accepted, changed.as_bytes()), Err(Refusal::Invalid));
    let other_kind = sign(DocumentKind::Answer, &"run", Some(&ours));
    assert_eq!(open(&accepted, &other_kind), Err(Refusal::Invalid));
    // A document of another form, and the signature of another key under this key's name.
    assert_eq!(open(&accepted, &sign(OFFER, &1, Some(&ours))), Err(Refusal::Invalid));
    let other = key();
    let forged = String::from_utf8(sign(OFFER, &"run", Some(&other))).unwrap();
    let forged = forged.replace(&other.public(), &ours.public());
    assert_eq!(open(&accepted, forged.as_bytes()), Err(Refusal::Invalid));
    for garbage in ["", "{}", "[]", "\"x\""] {
        assert_eq!(open(&accepted, garbage.as_bytes()), Err(Refusal::Invalid));
    }
}

#[test]
fn key_files_are_private_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let public = RunsKey::create(&path).unwrap().public();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(RunsKey::create(&path).unwrap().public(), public);
    assert_eq!(RunsKey::read(&path).unwrap().public(), public);
    // As `nk -gen user` prints it.
    fs::write(&path, KeyPair::new_user().seed().unwrap()).unwrap();
    assert!(RunsKey::read(&path).unwrap().public() != public);
}

#[test]
fn unusable_keys_are_refused_without_showing_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let seed = KeyPair::new_user().seed().unwrap();
    for text in ["", "key", &seed[1..], &seed[..50], &KeyPair::new_account().seed().unwrap()] {
        fs::write(&path, text).unwrap();
        let Err(FleetError::Usage(message)) = RunsKey::read(&path) else { panic!("{text}") };
        assert!(message.contains("runner broker key FILE"), "{message}");
    }
    let public = key().public();
    let Err(FleetError::Usage(message)) = RunsKey::read(public.as_ref()) else { panic!() };
    assert!(message.contains("secret key"), "{message}");
    for text in [&seed, "kex", &public[1..], &KeyPair::new_account().public_key()] {
        let refused = AcceptedKeys::parse(&[public.clone(), text.to_owned()]);
        let Err(FleetError::Usage(message)) = refused else { panic!("{text}") };
        assert!(!message.contains(text), "{message}");
    }
}
