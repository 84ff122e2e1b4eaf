use std::{
    collections::BTreeMap,
    io::{self, Seek as _, Write as _},
    sync::Arc,
};

use runner_model::{digest, protocol::MAX_PIECE, row::Artifact};
use runner_sandbox::{LeftContent, LeftFile, Redactor};

use super::send_artifact;

fn file(content: &[u8], is_file: bool) -> LeftFile {
    LeftFile {
        name: "a.txt".into(),
        media_type: "text/plain".into(),
        bytes: content.len() as u64,
        content: if is_file {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(content).unwrap();
            file.rewind().unwrap();
            LeftContent::File(file)
        } else {
            LeftContent::Memory(content.to_vec())
        },
    }
}

/// Sends a file. Returns its entry and its pieces.
fn send(file: LeftFile, redactor: Option<&Arc<Redactor>>) -> (Artifact<'static>, Vec<Vec<u8>>) {
    let mut pieces = Vec::new();
    let artifact = send_artifact(file, redactor, |piece| {
        pieces.push(piece);
        Ok(())
    });
    (artifact.unwrap(), pieces)
}

#[test]
fn a_file_comes_in_pieces_with_its_digest() {
    let large = b"0123456789".repeat(100_000);
    for content in [&large[..], b"small", b""] {
        for is_file in [false, true] {
            let (artifact, pieces) = send(file(content, is_file), None);
            assert_eq!(pieces.concat(), content);
            assert_eq!((artifact.sha256, artifact.bytes), (digest(content), content.len() as u64));
            // An empty file has a piece, too.
            assert!(!pieces.is_empty() && pieces.iter().all(|piece| piece.len() <= MAX_PIECE));
        }
    }
    let sent = send_artifact(file(b"x", true), None, |_| Err(io::Error::other("gone")));
    assert!(sent.is_err());
}

#[test]
fn secrets_are_redacted_across_pieces() {
    let values = BTreeMap::from([("KEY".to_owned(), "hunter2-hunter2-hunter2".to_owned())]);
    let redactor = Redactor::new(&values).map(Arc::new);
    let mut content = vec![b'x'; MAX_PIECE - 5];
    content.extend(b"hunter2-hunter2-hunter2");
    content.extend(vec![b'y'; 10]);
    let redacted = [&vec![b'x'; MAX_PIECE - 5][..], b"[secret KEY]", &[b'y'; 10]].concat();
    for is_file in [false, true] {
        let (artifact, pieces) = send(file(&content, is_file), redactor.as_ref());
        assert_eq!(pieces.concat(), redacted);
        assert_eq!((artifact.sha256, artifact.bytes), (digest(&redacted), redacted.len() as u64));
    }
}
