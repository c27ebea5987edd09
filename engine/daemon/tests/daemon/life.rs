//! A container's life, by raw requests, by bollard, and by the docker client.

use std::thread;

use crate::support::{eventually, lab};

#[test]
fn a_container_lives_and_dies() {
    let Some(lab) = lab() else { return };
    let id = lab.run("otter", &["sh", "-c", "echo out; echo err >&2; exit 7"]);
    let (status, answer) = lab.json("POST", &format!("/containers/{id}/wait"), "");
    assert_eq!((status, &answer["StatusCode"]), (200, &serde_json::json!(7)));
    let whole = lab.inspect("otter");
    assert_eq!(whole["State"]["Status"], "exited");
    assert_eq!(whole["State"]["ExitCode"], 7);
    let (_, log) = lab.request("GET", "/containers/otter/logs?stdout=1&stderr=1", "");
    assert!(
        log.contains("\u{1}\0\0\0\0\0\0\u{4}out\n") && log.contains("\u{2}\0\0\0\0\0\0\u{4}err\n"),
        "{log:?}"
    );
    assert_eq!(lab.request("DELETE", "/containers/otter", "").0, 204);
    assert_eq!(lab.request("GET", "/containers/otter/json", "").0, 404);
    assert!(!lab.root().join("containers").join(&id).exists());
}

#[test]
fn one_of_many_gets_a_name() {
    let Some(lab) = lab() else { return };
    let body = r#"{"Image":"busybox","Cmd":["true"]}"#;
    let statuses: Vec<u16> = thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| lab.request("POST", "/containers/create?name=badger", body).0))
            .collect();
        tries.into_iter().map(|one| one.join().expect("a request")).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 7, "{statuses:?}");
}

#[test]
fn a_long_patience_keeps_nobody_else_waiting() {
    let Some(lab) = lab() else { return };
    lab.run("heron", &["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]);
    let began = std::time::Instant::now();
    thread::scope(|scope| {
        let patient = scope.spawn(|| lab.request("POST", "/containers/heron/stop?t=1000", "").0);
        thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(lab.request("POST", "/containers/heron/pause", "").0, 204);
        assert_eq!(lab.request("POST", "/containers/heron/unpause", "").0, 204);
        assert_eq!(lab.request("POST", "/commit?container=heron", "").0, 201);
        assert_eq!(lab.request("POST", "/containers/heron/stop?t=0", "").0, 204);
        assert_eq!(patient.join().expect("a request"), 204);
    });
    assert!(began.elapsed().as_secs() < 100, "{:?}", began.elapsed());
    let state = lab.inspect("heron")["State"].clone();
    assert_eq!((&state["Status"], &state["ExitCode"]), (&"exited".into(), &137.into()), "{state}");
}

#[test]
fn a_restart_with_patience_keeps_nobody_else_waiting() {
    let Some(lab) = lab() else { return };
    lab.run("ibis", &["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]);
    let pid = lab.inspect("ibis")["State"]["Pid"].clone();
    let began = std::time::Instant::now();
    thread::scope(|scope| {
        let restart = || lab.request("POST", "/containers/ibis/restart?t=1000", "").0;
        let patient = [scope.spawn(restart), scope.spawn(restart)];
        thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(lab.request("POST", "/containers/ibis/pause", "").0, 204);
        assert_eq!(lab.request("POST", "/containers/ibis/unpause", "").0, 204);
        assert_eq!(lab.request("POST", "/commit?container=ibis", "").0, 201);
        assert_eq!(lab.request("POST", "/containers/ibis/stop?t=0", "").0, 204);
        for patient in patient {
            assert_eq!(patient.join().expect("a request"), 204);
        }
    });
    assert!(began.elapsed().as_secs() < 100, "{:?}", began.elapsed());
    let state = lab.inspect("ibis")["State"].clone();
    assert_eq!(state["Status"], "running", "{state}");
    assert_ne!(state["Pid"], pid, "it is another process");
    assert_eq!(lab.request("POST", "/containers/ibis/restart?t=0", "").0, 204);
}

#[test]
fn what_stops_restarts_and_pauses() {
    let Some(lab) = lab() else { return };
    lab.run("crane", &["sleep", "600"]);
    let pid = lab.inspect("crane")["State"]["Pid"].clone();
    assert_eq!(lab.request("POST", "/containers/crane/start", "").0, 304);
    assert_eq!(lab.request("POST", "/containers/crane/pause", "").0, 204);
    assert_eq!(lab.inspect("crane")["State"]["Status"], "paused");
    assert_eq!(lab.request("DELETE", "/containers/crane", "").0, 409);
    assert_eq!(lab.request("POST", "/containers/crane/unpause", "").0, 204);
    assert_eq!(lab.request("POST", "/containers/crane/restart?t=0", "").0, 204);
    let again = lab.inspect("crane");
    assert_eq!(again["State"]["Status"], "running");
    assert_ne!(again["State"]["Pid"], pid);
    assert_eq!(lab.request("POST", "/containers/crane/rename?name=heron", "").0, 204);
    assert_eq!(lab.request("POST", "/containers/heron/stop?t=0", "").0, 204);
    assert_eq!(lab.request("POST", "/containers/heron/stop", "").0, 304);
    assert_eq!(lab.inspect("heron")["State"]["ExitCode"], 137);
}

#[test]
fn top_shows_the_hosts_list_for_the_kernels_numbers() {
    let Some(lab) = lab() else { return };
    lab.run("plover", &["sh", "-c", "sleep 601 & sleep 602; true"]);
    let rows = |answer: &serde_json::Value| answer["Processes"].as_array().map_or(0, Vec::len);
    assert!(eventually(|| rows(&lab.json("GET", "/containers/plover/top", "").1) == 3));
    let (status, answer) = lab.json("GET", "/containers/plover/top?ps_args=-o%20pid,args", "");
    assert_eq!((status, &answer["Titles"]), (200, &serde_json::json!(["PID", "COMMAND"])));
    assert!(answer["Processes"].to_string().contains("sleep 601"), "{answer}");
    let (status, said) = lab.request("GET", "/containers/plover/top?ps_args=--nothing-of-the-kind", "");
    assert!(status == 500 && said.contains("unknown gnu long option"), "{status} {said}");
    let told = std::fs::read_dir(lab.root().join("traces")).expect("the recordings").flatten().any(|file| {
        let text = std::fs::read_to_string(file.path()).unwrap_or_default();
        text.contains("\"kind\":\"cgroup.read\"") && text.contains("\"role\":\"ps\"")
    });
    assert!(told, "whose numbers, and who was asked, is in the trace");
}

#[test]
fn a_restart_policy_acts_and_stops_to() {
    let Some(lab) = lab() else { return };
    let body = r#"{"Image":"busybox","Cmd":["sh","-c","echo tried; false"],"HostConfig":{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":2}}}"#;
    assert_eq!(lab.request("POST", "/containers/create?name=wren", body).0, 201);
    // Whoever starts it by hand has the policy count anew.
    for tries in [3, 6] {
        assert_eq!(lab.request("POST", "/containers/wren/start", "").0, 204);
        assert!(eventually(|| {
            let whole = lab.inspect("wren");
            let (_, said) = lab.request("GET", "/containers/wren/logs?stdout=1", "");
            whole["RestartCount"] == 2
                && whole["State"]["Status"] == "exited"
                && said.matches("tried").count() == tries
        }));
    }
}

#[test]
fn what_removes_itself_can_be_removed_by_force() {
    let Some(lab) = lab() else { return };
    for _ in 0..5 {
        let body = r#"{"Image":"busybox","Cmd":["sleep","600"],"Volumes":{"/x":{}},"HostConfig":{"AutoRemove":true}}"#;
        assert_eq!(lab.request("POST", "/containers/create?name=wren", body).0, 201);
        assert_eq!(lab.request("POST", "/containers/wren/start", "").0, 204);
        let (status, said) = lab.request("DELETE", "/containers/wren?force=1", "");
        assert_eq!(status, 204, "{said}");
        assert_eq!(lab.request("GET", "/containers/wren/json", "").0, 404);
        // Its volumes go with it, a moment later if it was first itself.
        assert!(eventually(|| lab.json("GET", "/volumes", "").1["Volumes"] == serde_json::json!([])));
    }
}

#[test]
fn volumes_get_what_the_image_has_and_outlive_containers() {
    let Some(lab) = lab() else { return };
    let body = r#"{"Image":"busybox","Cmd":["touch","/etc/mark"],"HostConfig":{"Binds":["nest:/etc"]}}"#;
    assert_eq!(lab.request("POST", "/containers/create?name=swan", body).0, 201);
    assert_eq!(lab.request("POST", "/containers/swan/start", "").0, 204);
    assert_eq!(lab.json("POST", "/containers/swan/wait", "").1["StatusCode"], 0);
    let data = lab.root().join("volumes/nest/_data");
    assert!(data.join("mark").exists() && data.join("passwd").exists());
    assert_eq!(lab.request("DELETE", "/volumes/nest", "").0, 409);
    assert_eq!(lab.request("DELETE", "/containers/swan?v=1", "").0, 204);
    assert!(data.exists(), "a named volume stays");
    assert_eq!(lab.request("DELETE", "/volumes/nest", "").0, 204);
    assert!(!data.exists());
}

#[test]
fn events_tell_what_happened_in_dockers_order() {
    let Some(lab) = lab() else { return };
    let body = r#"{"Image":"busybox","Cmd":["true"],"HostConfig":{"Binds":["nest:/x"],"AutoRemove":true}}"#;
    assert_eq!(lab.request("POST", "/containers/create?name=swan", body).0, 201);
    assert_eq!(lab.request("POST", "/containers/swan/start", "").0, 204);
    assert!(eventually(|| lab.request("GET", "/containers/swan/json", "").0 == 404));
    let now = crate::health::soon();
    let (_, told) = lab.request("GET", &format!("/events?since=1&until={now}"), "");
    let told: Vec<serde_json::Value> =
        told.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    let told: Vec<_> = told
        .iter()
        .filter(|event| event["Type"] != "image")
        .map(|event| format!("{} {}", event["Type"], event["Action"]).replace('"', ""))
        .collect();
    assert_eq!(
        told,
        [
            "volume create",
            "container create",
            "network connect",
            "volume mount",
            "container start",
            "container die",
            "network disconnect",
            "volume unmount",
            "container destroy",
        ]
    );
}

#[test]
fn a_start_that_failed_can_be_tried_again_at_once() {
    let Some(lab) = lab() else { return };
    lab.create("wren", &["nothing-of-that-name"]);
    let start = || lab.request("POST", "/containers/wren/start", "");
    let first = start();
    assert_eq!(first.0, 400, "{}", first.1);
    for _ in 0..3 {
        assert_eq!(start(), first);
    }

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let body = format!(
        r#"{{"Image":"busybox","Cmd":["sleep","600"],
            "HostConfig":{{"PortBindings":{{"80/tcp":[{{"HostIp":"127.0.0.1","HostPort":"{port}"}}]}}}}}}"#
    );
    assert_eq!(lab.request("POST", "/containers/create?name=crane", &body).0, 201);
    let start = || lab.request("POST", "/containers/crane/start", "");
    let began = std::time::Instant::now();
    for _ in 0..2 {
        let (status, said) = start();
        assert!(status == 500 && said.contains("failed to bind host port"), "{status} {said}");
    }
    drop(taken);
    assert_eq!(start(), (204, String::new()));
    assert!(began.elapsed() < std::time::Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn the_docker_client_is_at_home() {
    let Some(lab) = lab() else { return };
    let docker = |arguments: &[&str]| {
        let output = lab.docker(arguments)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some((output.status.code(), text(&output.stdout), text(&output.stderr)))
    };
    if docker(&["version"]).is_none() {
        return;
    }
    let run = |arguments: &[&str]| docker(&[&["run", "--rm"], arguments].concat()).expect("a client");
    assert_eq!(run(&["busybox", "echo", "hi"]), (Some(0), "hi\n".into(), String::new()));
    assert_eq!(run(&["busybox", "sh", "-c", "exit 42"]).0, Some(42));
    assert_eq!(run(&["busybox", "nothing-of-that-name"]).0, Some(127));
    assert_eq!(run(&["busybox", "/etc"]).0, Some(126));
    assert_eq!(
        run(&["-e", "PATH=/:/etc", "busybox", "passwd"]).0,
        Some(127),
        "no x bit: looked for further on"
    );
    // Root's powers are not there any more when the user's program is executed, but they are for its working directory.
    let locked = "mkdir -p /locked/x && cp /bin/busybox /locked/x/true && chmod 700 /locked && ";
    let (_, made, _) =
        docker(&["create", "busybox", "sh", "-c", &format!("{locked}true")]).expect("a client");
    assert_eq!(docker(&["start", "-a", made.trim()]).expect("a client").0, Some(0));
    assert_eq!(docker(&["commit", made.trim(), "locked"]).expect("a client").0, Some(0));
    // A small process 1 hands signals on, collects orphans and ends as the program does.
    let (_, small, _) = docker(&[
        "run",
        "-d",
        "--init",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 7' USR1; trap 'exit 8' 37; (sleep 0.1 & ); sleep 0.5; ps -o pid,args,stat; while :; do sleep 0.1; done",
    ])
    .expect("a client");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let listed = docker(&["logs", small.trim()]).expect("a client").1;
    assert!(listed.contains("/sbin/docker-init -- sh -c") && !listed.contains(" Z"), "{listed}");
    assert_eq!(docker(&["kill", "-s", "USR1", small.trim()]).expect("a client").0, Some(0));
    assert_eq!(docker(&["wait", small.trim()]).expect("a client").1, "7\n");
    assert_eq!(docker(&["start", small.trim()]).expect("a client").0, Some(0));
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(docker(&["kill", "-s", "RTMIN+3", small.trim()]).expect("a client").0, Some(0));
    assert_eq!(docker(&["wait", small.trim()]).expect("a client").1, "8\n");
    assert_eq!(docker(&["rm", small.trim()]).expect("a client").0, Some(0));
    assert_eq!(run(&["--init", "busybox", "no-such-program"]).0, Some(127));
    assert_eq!(run(&["--init", "-u", "1000", "busybox", "sh", "-c", "kill -9 $$"]).0, Some(137));
    let denied = run(&["-u", "1000", "locked", "/locked/x/true"]);
    assert_eq!(denied.0, Some(126), "{denied:?}");
    assert!(denied.2.contains("/locked/x/true: permission denied"), "{denied:?}");
    assert_eq!(run(&["-u", "1000", "-w", "/locked", "locked", "/bin/true"]).0, Some(0));
    assert_eq!(docker(&["rm", made.trim()]).expect("a client").0, Some(0));
    let (status, id, _) =
        docker(&["run", "-d", "--name", "fox", "busybox", "sleep", "600"]).expect("a client");
    assert_eq!((status, id.trim().len()), (Some(0), 64));
    let exec = docker(&["exec", "fox", "sh", "-c", "echo in; exit 3"]).expect("a client");
    assert_eq!((exec.0, exec.1.as_str()), (Some(3), "in\n"));
    assert_eq!(docker(&["ps", "-q", "--no-trunc"]).expect("a client").1, id);
    assert_eq!(docker(&["kill", "fox"]).expect("a client").0, Some(0));
    assert_eq!(docker(&["wait", "fox"]).expect("a client").1, "137\n");
    assert_eq!(docker(&["rm", "fox"]).expect("a client").1, "fox\n");
    assert_eq!(docker(&["ps", "-aq"]).expect("a client").1, "", "what ran with --rm is gone");
}

#[test]
fn bollard_is_at_home() {
    use bollard::Docker;
    use bollard::models::ContainerCreateBody;
    use bollard::query_parameters::{InspectContainerOptions, RemoveContainerOptions, StartContainerOptions};

    let Some(lab) = lab() else { return };
    let tasks = tokio::runtime::Runtime::new().expect("tasks");
    tasks.block_on(async {
        let socket = lab.socket().to_string_lossy().into_owned();
        let docker = Docker::connect_with_unix(&socket, 30, bollard::API_DEFAULT_VERSION).expect("a client");
        let body = ContainerCreateBody {
            image: Some("busybox".to_owned()),
            cmd: Some(vec!["sleep".to_owned(), "600".to_owned()]),
            labels: Some([("kind".to_owned(), "bird".to_owned())].into()),
            ..ContainerCreateBody::default()
        };
        let made = docker.create_container(None, body).await.expect("a container");
        docker.start_container(&made.id, None::<StartContainerOptions>).await.expect("a start");
        let whole =
            docker.inspect_container(&made.id, None::<InspectContainerOptions>).await.expect("an inspect");
        assert_eq!(whole.state.and_then(|state| state.running), Some(true));
        assert_eq!(whole.config.and_then(|config| config.labels).unwrap_or_default()["kind"], "bird");
        let force = RemoveContainerOptions { force: true, ..RemoveContainerOptions::default() };
        docker.remove_container(&made.id, Some(force)).await.expect("a removal");
    });
}
