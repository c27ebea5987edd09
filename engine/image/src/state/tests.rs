use super::*;

fn state() -> (tempfile::TempDir, State) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = State::open(folder.path()).expect("a database");
    (folder, state)
}

#[test]
fn documents_are_kept_over_a_restart() {
    let (folder, state) = state();
    state.put(CONTAINERS, "1", Some("otter"), "{}").expect("put");
    state.put(CONTAINERS, "1", Some("seal"), "[]").expect("put again");
    drop(state);
    let state = State::open(folder.path()).expect("opens again");
    let expected = Document { id: "1".into(), name: Some("seal".into()), json: "[]".into() };
    assert_eq!(state.all(CONTAINERS).expect("read"), [expected]);
    assert!(state.delete(CONTAINERS, "1").expect("deleted"));
    assert!(!state.delete(CONTAINERS, "1").expect("nothing left"));
}

#[test]
fn documents_are_written_all_at_once() {
    let (_folder, state) = state();
    state.put("step", "a", Some("named"), "old").expect("put");
    let documents = [("a", "1"), ("b", "2")].map(|(id, json)| (("step", id.to_owned()), json.to_owned()));
    state.put_all(&documents.into()).expect("put");
    let all = state.all("step").expect("read");
    let all: Vec<_> =
        all.iter().map(|one| (one.id.as_str(), one.name.as_deref(), one.json.as_str())).collect();
    assert_eq!(all, [("a", None, "1"), ("b", None, "2")]);
}

#[test]
fn of_many_who_want_one_name_one_gets_it() {
    let (_folder, state) = state();
    let won: usize = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|number| {
                let state = state.clone();
                scope.spawn(move || state.put(CONTAINERS, &number.to_string(), Some("otter"), "{}"))
            })
            .collect();
        tries
            .into_iter()
            .filter(|_| true)
            .map(|attempt| match attempt.join().expect("no panic") {
                Ok(()) => 1,
                Err(Error::NameTaken { name, .. }) if name == "otter" => 0,
                Err(error) => panic!("{error}"),
            })
            .sum()
    });
    assert_eq!(won, 1);
    state.put(VOLUMES, "1", Some("otter"), "{}").expect("another kind has its own names");
}

#[test]
fn a_damaged_file_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("state.db"), vec![b'x'; 8192]).expect("written");
    let error = State::open(folder.path()).expect_err("no database");
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("move the file"), "{error}");

    let (folder, state) = self::state();
    for number in 0..2000 {
        state.put(NETWORKS, &number.to_string(), None, &"x".repeat(200)).expect("put");
    }
    state.lock().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("checkpointed");
    drop(state);
    let path = folder.path().join("state.db");
    let mut bytes = std::fs::read(&path).expect("read");
    for byte in &mut bytes[8192..60_000] {
        *byte = 0xff;
    }
    std::fs::write(&path, bytes).expect("damaged");
    assert!(matches!(State::open(folder.path()), Err(Error::Corrupt { .. })));
}

#[test]
fn a_newer_format_is_left_alone() {
    let (folder, state) = state();
    state.lock().pragma_update(None, "user_version", 99).expect("set");
    drop(state);
    assert!(matches!(State::open(folder.path()), Err(Error::Newer { found: 99, .. })));
}

#[test]
fn containers_without_a_database_are_not_taken_for_rubbish() {
    let (folder, first) = state();
    drop(first);
    std::fs::create_dir_all(folder.path().join("containers/1234/upper")).expect("a container's folder");
    drop(State::open(folder.path()).expect("the database is there"));
    for emptied in [true, false] {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(folder.path().join(format!("state.db{suffix}")));
        }
        if emptied {
            std::fs::write(folder.path().join("state.db"), "").expect("an empty file");
        }
        for attempt in 1..=2 {
            let error = State::open(folder.path()).expect_err("a lost database");
            assert!(matches!(error, Error::Lost { .. }), "attempt {attempt}: {error}");
        }
    }
    std::fs::rename(folder.path().join("containers"), folder.path().join("kept")).expect("moved away");
    State::open(folder.path()).expect("what the error said helps");
}
