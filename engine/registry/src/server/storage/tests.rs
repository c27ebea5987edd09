//! What is there after a crash.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::manifests::Reference;
use super::*;
use crate::server::manifest::Manifest;
use glassdock_image::digest::{Algorithm, Digest};

fn name() -> Name {
    Name::parse("a/b").expect("a name")
}

/// A manifest that names nothing but a config, which is stored too.
fn stored(storage: &Storage, tag: &str) -> Digest {
    let config = Bytes::from_static(b"{}");
    let digest = Digest::of(&config);
    let adding = storage.adding().expect("nobody collects");
    storage.put_blob(&name(), &digest, &config, &adding).expect("stored");
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let text = json!({"schemaVersion": 2, "mediaType": media_type, "layers": [],
        "annotations": {"tag": tag}, "config": {"mediaType": "x", "digest": digest.to_string(), "size": 2}});
    let bytes = Bytes::from(text.to_string());
    let manifest = Manifest::parse(&bytes, None).expect("a manifest");
    let digest = Digest::of(&bytes);
    storage.put_manifest(&name(), &digest, &manifest, &bytes, &[tag.to_owned()], &adding).expect("stored");
    digest
}

/// The folder as a machine finds it that lost its power: the journal is there, and of the files
/// some are gone and some are empty.
fn after_a_crash(root: &Path, lost: &[&str], empty: &[&str]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    let status = std::process::Command::new("cp").arg("-a").arg(root.join(".")).arg(copy.path()).status();
    assert!(status.expect("cp runs").success());
    for path in lost {
        let path = copy.path().join(path);
        let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        gone.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    for path in empty {
        fs::write(copy.path().join(path), "").expect("emptied");
    }
    copy
}

#[test]
fn what_was_answered_for_is_there_after_a_crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = Storage::open(&folder.path().into(), true, 0).expect("a registry");
    let (one, two) = (stored(&storage, "one"), stored(&storage, "two"));
    storage.delete_tag(&name(), "one").expect("deleted");
    storage.put_tag(&name(), "three", &one).expect("tagged");
    for (lost, empty) in [
        (&["repositories/a"][..], &[][..]),
        (&["blobs/sha256"], &["repositories/a/b/_tags/two", "repositories/a/b/_tags/three"]),
        (&[], &[]),
    ] {
        let copy = after_a_crash(folder.path(), lost, empty);
        let again = Storage::open(&copy.path().into(), true, 0).expect("it opens");
        for (tag, digest) in [("two", &two), ("three", &one)] {
            let found = again.manifest(&name(), &Reference::Tag(tag.to_owned())).expect("there");
            assert_eq!(&Digest::of(&found.bytes), digest, "{tag} {lost:?} {empty:?}");
        }
        assert_eq!(again.tag(&name(), "one").expect("readable"), None, "deleted is deleted");
        assert_eq!(again.blob_size(&name(), &Digest::of(b"{}")).expect("there"), 2);
        assert_eq!(fs::read_dir(copy.path().join("journal")).expect("a folder").count(), 0, "it is done");
    }
}

#[test]
fn nothing_is_done_again_that_somebody_changed_since() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = Storage::open(&folder.path().into(), true, 0).expect("a registry");
    stored(&storage, "tag");
    let two = stored(&storage, "other");
    let copy = after_a_crash(folder.path(), &[], &[]);
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::write(copy.path().join("repositories/a/b/_tags/tag"), two.to_string())
        .expect("moved by another server");
    let again = Storage::open(&copy.path().into(), true, 0).expect("it opens");
    assert_eq!(again.tag(&name(), "tag").expect("readable"), Some(two));
}

#[test]
fn a_checkpoint_empties_the_journal_and_large_blobs_need_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = Arc::new(Storage::open(&folder.path().into(), true, 0).expect("a registry"));
    let bytes = Bytes::from(vec![1; 200_000]);
    let digest = Digest::of(&bytes);
    let mut upload = storage.begin_upload(&name(), Some(Algorithm::Sha256)).expect("begun");
    upload.append(vec![bytes]).expect("written");
    upload.finish(&digest).expect("whole");
    let logs = || -> u64 {
        let entries = fs::read_dir(folder.path().join("journal")).expect("a folder");
        let logs = entries.map(|entry| fs::read(entry.expect("an entry").path()).expect("readable"));
        // Zeros follow the records.
        logs.map(|log| log.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)).sum()
    };
    assert_eq!(logs(), 0, "nobody waits for the disk");
    stored_with(&storage, &digest, 200_000);
    assert!((1..3000).contains(&logs()), "the bytes are not in the journal");
    let copy = after_a_crash(folder.path(), &["repositories/a"], &[]);
    let again = Storage::open(&copy.path().into(), true, 0).expect("it opens");
    assert_eq!(again.blob_size(&name(), &digest).expect("it is in its repository"), 200_000);
    storage.settle().expect("written out");
    assert_eq!(logs(), 0);
    let copy = after_a_crash(folder.path(), &[], &[]);
    let again = Storage::open(&copy.path().into(), true, 0).expect("it opens");
    assert_eq!(again.blob_size(&name(), &digest).expect("there"), 200_000);
}

/// A manifest that names one layer, put there; its digest.
fn stored_with(storage: &Storage, layer: &Digest, size: usize) -> Digest {
    let config = Digest::of(b"{}");
    let adding = storage.adding().expect("nobody collects");
    storage.put_blob(&name(), &config, &Bytes::from_static(b"{}"), &adding).expect("stored");
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let part = |digest: &Digest, size| json!({"mediaType": "x", "digest": digest.to_string(), "size": size});
    let text = json!({"schemaVersion": 2, "mediaType": media_type, "config": part(&config, 2),
        "layers": [part(layer, size)]});
    let bytes = Bytes::from(text.to_string());
    let manifest = Manifest::parse(&bytes, None).expect("a manifest");
    let digest = Digest::of(&bytes);
    storage.put_manifest(&name(), &digest, &manifest, &bytes, &["tag".to_owned()], &adding).expect("stored");
    digest
}

/// The folder as a killed server leaves it that had no time to settle a blob of these bytes.
fn unsettled(root: &Path, boot: &str, digest: &Digest, bytes: &[u8]) -> PathBuf {
    let storage = Storage::open(&root.into(), true, 0).expect("a registry");
    let link = Act::write(keys::blob_link(&name(), digest), Bytes::new());
    storage.place.commit(&[link]).expect("linked");
    storage.settle().expect("written out");
    let path = root.join("settling").join(boot).join(keys::file_name(digest));
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(&path, bytes).expect("written");
    path
}

/// This boot, as the kernel calls it.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("readable").trim().to_owned()
}

#[test]
fn a_blob_that_settles_is_there_and_stays_once_a_manifest_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = vec![1; 200_000];
    let digest = Digest::of(&bytes);
    let path = unsettled(folder.path(), &boot(), &digest, &bytes);
    let blob = folder.path().join(keys::blob(&digest));
    // These have no thread that settles.
    let open = || Storage::open(&folder.path().into(), false, 0).expect("it opens");
    let (one, other) = (open(), open());
    for storage in [&one, &other] {
        assert_eq!(storage.blob_size(&name(), &digest).expect("there"), 200_000);
        assert!(storage.read_blob(&name(), &digest, 1 << 20).expect("there") == bytes);
    }
    let collected = one.collect(collect::Collecting { grace: Duration::ZERO, ..Default::default() });
    assert_eq!(collected.expect("collected").blobs, 0, "what settles is no garbage");
    assert!(path.exists() && !blob.exists(), "nobody needed it to stay");
    one.link_blob(&name(), &digest, &one.adding().expect("nobody collects")).expect("linked");

    stored_with(&one, &digest, bytes.len());
    assert!(blob.exists() && !path.exists(), "the manifest and what it names stay");
    assert_eq!(other.blob_size(&name(), &digest).expect("there"), 200_000, "for every server");
    // Who wanted to settle it too finds it done, also between its two names.
    fs::hard_link(&blob, &path).expect("linked");
    stored_with(&other, &digest, bytes.len());
    assert!(!path.exists());
    assert!(other.read_blob(&name(), &digest, 1 << 20).expect("there") == bytes);
}

#[test]
fn who_lost_power_keeps_of_what_settled_what_is_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, torn) = (vec![1; 200_000], vec![2; 200_000]);
    let (of_whole, of_torn) = (Digest::of(&whole), Digest::of(&torn));
    unsettled(folder.path(), "another-boot", &of_whole, &whole);
    let path = unsettled(folder.path(), "another-boot", &of_torn, &torn[..70_000]);

    let storage = Arc::new(Storage::open(&folder.path().into(), true, 0).expect("it opens"));
    assert!(!path.parent().expect("a folder").exists(), "all that another boot left is seen to");
    assert!(folder.path().join(keys::blob(&of_whole)).exists());
    assert!(storage.read_blob(&name(), &of_whole, 1 << 20).expect("there") == whole);
    let refusal = storage.open_blob(&name(), &of_torn).err().expect("it was lost");
    assert_eq!(refusal.code, crate::server::error::Code::BlobUnknown);

    let mut upload = storage.begin_upload(&name(), Some(Algorithm::Sha256)).expect("begun");
    upload.append(vec![Bytes::from(torn.clone())]).expect("written");
    upload.finish(&of_torn).expect("pushed again");
    assert!(storage.read_blob(&name(), &of_torn, 1 << 20).expect("there") == torn);
    stored_with(&storage, &of_torn, torn.len());
    assert!(folder.path().join(keys::blob(&of_torn)).exists());
}

#[test]
fn blobs_settle_by_themselves() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = Arc::new(Storage::open(&folder.path().into(), true, 0).expect("a registry"));
    let mut digests = Vec::new();
    for number in 0..20 {
        let bytes = Bytes::from(vec![number; 100_000]);
        digests.push(Digest::of(&bytes));
        let mut upload = storage.begin_upload(&name(), Some(Algorithm::Sha256)).expect("begun");
        upload.append(vec![bytes]).expect("written");
        upload.finish(&digests[digests.len() - 1]).expect("whole");
    }
    let settled = |digest: &Digest| folder.path().join(keys::blob(digest)).exists();
    let begun = std::time::Instant::now();
    while !digests.iter().all(settled) {
        assert!(begun.elapsed() < Duration::from_secs(60), "somebody settles them");
        assert!(digests.iter().all(|digest| storage.blob_size(&name(), digest).is_ok()), "always there");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn who_collects_gets_a_turn_among_many_who_add() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = Storage::open(&folder.path().into(), true, 0).expect("a registry");
    let collected = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // There is always somebody who adds, until the collection is over.
                let mut held = storage.adding().expect("a turn");
                while !collected.load(std::sync::atomic::Ordering::Relaxed) {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                    drop(held);
                    held = storage.adding().expect("a turn");
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
            });
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        for _ in 0..20 {
            drop(storage.place.alone().expect("a turn"));
        }
        collected.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn pulls_of_all_servers_are_added_up() {
    let folder = tempfile::tempdir().expect("a folder");
    for (port, pulls) in [(1, 2), (2, 3), (1, 5)] {
        let storage = Storage::open(&folder.path().into(), true, port).expect("a registry");
        (0..pulls).for_each(|_| storage.count_pull(&name()));
        storage.note_pulls().expect("noted");
        storage.count_pull(&name());
    }
    let storage = Storage::open(&folder.path().into(), true, 0).expect("a registry");
    assert_eq!(storage.noted_pulls(&name()).expect("readable"), 10, "what was not noted is lost");
}
