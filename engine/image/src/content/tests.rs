use super::*;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(folder.path()).expect("a store");
    (folder, store)
}

#[test]
fn what_was_written_is_read_back_and_found_again() {
    let (_folder, store) = store();
    let digest = store.write(&Trace::off(), b"{}").expect("written");
    assert_eq!(store.has(&digest), Some(2));
    assert_eq!(store.read(&digest).expect("read"), b"{}");
    assert_eq!(store.list().expect("listed"), [(digest.clone(), 2)]);
    assert_eq!(store.remove(&digest).expect("removed"), 2);
    assert!(matches!(store.read(&digest), Err(Error::Missing(_))));
}

#[test]
fn a_broken_fetch_goes_on_where_it_was() {
    let (_folder, store) = store();
    let digest = Digest::of(b"hello world");
    let mut first = store.ingest(&digest, Some(11)).expect("begun");
    first.write(b"hello").expect("written");
    assert!(matches!(store.ingest(&digest, Some(11)), Err(Error::Busy(_))));
    assert!(matches!(first.commit(&Trace::off()), Err(Error::Size { actual: 5, .. })));
    assert_eq!(store.has(&digest), None);
    let mut second = store.ingest(&digest, Some(11)).expect("begun again");
    assert_eq!(second.offset(), 5);
    second.write(b" world").expect("written");
    second.commit(&Trace::off()).expect("agrees");
    assert_eq!(store.read(&digest).expect("read"), b"hello world");
}

#[test]
fn lies_about_digest_and_size_are_found() {
    let (_folder, store) = store();
    let digest = Digest::of(b"right");
    let mut wrong = store.ingest(&digest, Some(5)).expect("begun");
    wrong.write(b"wrong").expect("written");
    assert!(matches!(wrong.commit(&Trace::off()), Err(Error::Digest { .. })));
    let mut long = store.ingest(&digest, Some(5)).expect("begun");
    assert_eq!(long.offset(), 0, "what was wrong is not used again");
    assert!(matches!(long.write(b"righter"), Err(Error::Size { expected: 5, actual: 7, .. })));
    drop(long);
    assert!(store.list().expect("listed").is_empty());
}

#[test]
fn a_document_that_was_damaged_on_disk_is_noticed() {
    let (_folder, store) = store();
    let digest = store.write(&Trace::off(), b"{}").expect("written");
    fs::write(store.path(&digest), b"[]").expect("damaged");
    assert!(matches!(store.read(&digest), Err(Error::Digest { .. })));
}

#[test]
fn a_follower_reads_while_the_bytes_come() {
    let (_folder, store) = store();
    let bytes: Vec<u8> = (0..300_000_u32).map(|number| number as u8).collect();
    let mut ingest = store.ingest(&Digest::of(&bytes), None).expect("begun");
    let mut follow = ingest.follow();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        follow.read_to_end(&mut all).map(|_| all)
    });
    for part in bytes.chunks(7_000) {
        ingest.write(part).expect("written");
    }
    ingest.commit(&Trace::off()).expect("agrees");
    assert_eq!(reader.join().expect("no panic").expect("whole"), bytes);
    let broken = store.ingest(&Digest::of(b"x"), None).expect("begun");
    let mut follow = broken.follow();
    drop(broken);
    assert!(follow.read(&mut [0]).is_err(), "a broken fetch is no end");
}
