//! What a container sees of itself and of the host.

use std::fs;

use crate::support::{Fixture, requires_root_and_busybox};

#[test]
fn its_own_namespaces() {
    if !requires_root_and_busybox() {
        return;
    }
    let ran = Fixture::shell(
        "for n in mnt pid net uts ipc cgroup user; do readlink /proc/self/ns/$n; done; hostname; echo $$",
    )
    .run()
    .unwrap();
    let lines: Vec<_> = ran.stdout.lines().collect();
    for (line, name) in lines.iter().zip(["mnt", "pid", "net", "uts", "ipc", "cgroup", "user"]) {
        let host = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        let same = host.to_str() == Some(line);
        assert_eq!(same, name == "user", "{name}: {line} and the host's {host:?}");
    }
    assert_eq!(&lines[7..], ["otter", "1"], "{ran:?}");
}

#[test]
fn no_mount_of_the_host() {
    if !requires_root_and_busybox() {
        return;
    }
    let ran = Fixture::shell("cat /proc/self/mountinfo; ls /proc | grep -c '^[0-9]'").run().unwrap();
    let targets: Vec<_> = ran.stdout.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    assert_eq!(targets.first(), Some(&"/"), "{ran:?}");
    assert!(ran.stdout.lines().next().unwrap().contains(" - overlay "), "{ran:?}");
    for wanted in [
        "/proc",
        "/dev",
        "/dev/pts",
        "/sys",
        "/sys/fs/cgroup",
        "/dev/mqueue",
        "/dev/shm",
        "/proc/sys",
        "/proc/keys",
    ] {
        assert!(targets.contains(&wanted), "{wanted} is missing: {ran:?}");
    }
    let host = ["/work", "/tmp", "/var", "/run", "/home"];
    assert!(!targets.iter().any(|target| host.contains(target)), "{ran:?}");
    // The shell, ls and grep.
    let processes: u32 = ran.stdout.lines().last().unwrap().parse().unwrap();
    assert!(processes <= 4, "{ran:?}");
}

#[test]
fn few_powers_and_a_filter() {
    if !requires_root_and_busybox() {
        return;
    }
    let ran =
        Fixture::shell("grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status; unshare -m true; echo $?")
            .run()
            .unwrap();
    // The fourteen that Docker leaves.
    let fourteen = "00000000a80425fb";
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert!(ran.stdout.contains(&format!("{set}:\t{fourteen}")), "{set}: {ran:?}");
    }
    assert!(ran.stdout.contains("CapInh:\t0000000000000000"), "{ran:?}");
    assert!(ran.stdout.contains("Seccomp:\t2"), "{ran:?}");
    assert!(ran.stdout.contains("NoNewPrivs:\t0"), "{ran:?}");
    assert!(!ran.stdout.ends_with("\n0\n"), "unshare was let through: {ran:?}");
}

#[test]
fn no_new_privileges() {
    if !requires_root_and_busybox() {
        return;
    }
    let mut container = Fixture::shell("grep -E '^(Seccomp:|NoNewPrivs|CapEff)' /proc/self/status");
    container.process().no_new_privileges = true;
    container.process().capabilities = None;
    let ran = container.run().unwrap();
    assert!(ran.stdout.contains("NoNewPrivs:\t1") && ran.stdout.contains("Seccomp:\t2"), "{ran:?}");
    assert!(ran.stdout.contains("CapEff:\t0000000000000000"), "{ran:?}");
}

#[test]
fn masked_and_readonly_paths() {
    if !requires_root_and_busybox() {
        return;
    }
    let script = "cat /proc/keys | wc -c; ls /sys/firmware | wc -l; echo 1 > /proc/sys/kernel/panic; echo $?; touch /sys/x; echo $?; mount -t tmpfs x /tmp; echo $?";
    let ran = Fixture::shell(script).run().unwrap();
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines[..2], ["0", "0"], "{ran:?}");
    assert!(lines[2..].iter().all(|status| *status != "0"), "{ran:?}");
}

#[test]
fn a_readonly_root() {
    if !requires_root_and_busybox() {
        return;
    }
    let mut container = Fixture::shell("touch /x; echo $?; touch /dev/shm/x; echo $?");
    container.extras.readonly = true;
    let ran = container.run().unwrap();
    assert_eq!(ran.stdout, "1\n0\n", "{ran:?}");
    assert!(ran.stderr.contains("Read-only file system"), "{ran:?}");
}

#[test]
fn devices_and_links() {
    if !requires_root_and_busybox() {
        return;
    }
    let script = "stat -c '%F %t:%T %a' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty; readlink /dev/fd; readlink /dev/stdout; readlink /dev/ptmx; head -c 4 /dev/zero | wc -c";
    let ran = Fixture::shell(script).run().unwrap();
    let expected = "character special file 1:3 666\ncharacter special file 1:5 666\ncharacter special file 1:7 666\n\
        character special file 1:8 666\ncharacter special file 1:9 666\ncharacter special file 5:0 666\n\
        /proc/self/fd\n/proc/self/fd/1\npts/ptmx\n4\n";
    assert_eq!(ran.stdout, expected, "{ran:?}");
}

#[test]
fn users_by_name_with_their_groups_home_and_streams() {
    if !requires_root_and_busybox() {
        return;
    }
    let mut container = Fixture::shell(
        "id -u; id -g; id -G; echo $HOME; pwd; echo again > /dev/stdout; grep CapEff /proc/self/status; stat -c %u /proc/self/fd/1",
    );
    container.extras.user = Some("alice".into());
    container.process().cwd = "/made/for/me".into();
    let ran = container.run().unwrap();
    assert_eq!(
        ran.stdout.lines().collect::<Vec<_>>()[..6],
        ["1000", "100", "100 10", "/home", "/made/for/me", "again"],
        "{ran:?}"
    );
    assert!(ran.stdout.contains("CapEff:\t0000000000000000"), "{ran:?}");
}

#[test]
fn no_descriptor_leaks() {
    if !requires_root_and_busybox() {
        return;
    }
    let ran = Fixture::shell("ls -l /proc/1/fd; cat /proc/1/stat").run().unwrap();
    let open: Vec<_> = ran.stdout.lines().filter(|line| line.contains(" -> ")).collect();
    assert_eq!(open.len(), 3, "{ran:?}");
}

#[test]
fn binds_tmpfs_and_links_that_lead_out() {
    if !requires_root_and_busybox() {
        return;
    }
    let mut container = Fixture::shell(
        "cat /etc/hostname; touch /data/x; echo $?; cat /escape/inside; mount | grep -c '/tmp tmpfs\\|on /tmp type tmpfs'",
    );
    let folder = container.folder.path().to_owned();
    fs::write(folder.join("bundle/hostname"), "otter\n").unwrap();
    fs::create_dir(folder.join("data")).unwrap();
    fs::write(folder.join("data/inside"), "data\n").unwrap();
    // An image's link that leads out of its root, if it were followed on the host.
    std::os::unix::fs::symlink("/../../../../outside", folder.join("lower/escape")).unwrap();
    let bind = |source: String, destination: &str, options: &[&str]| glassdock_runtime::oci::Mount {
        destination: destination.into(),
        kind: Some("bind".into()),
        source: Some(source),
        options: options.iter().map(|&option| option.to_owned()).collect(),
    };
    let data = folder.join("data").display().to_string();
    container.spec.mounts.extend([
        bind("hostname".into(), "/etc/hostname", &["rbind", "rprivate", "ro"]),
        bind(data.clone(), "/data", &["rbind", "ro"]),
        bind(data, "/escape", &["rbind"]),
        glassdock_runtime::oci::Mount {
            destination: "/tmp".into(),
            kind: Some("tmpfs".into()),
            source: Some("tmpfs".into()),
            options: vec!["size=1m".into(), "nosuid".into()],
        },
    ]);
    let ran = container.run().unwrap();
    assert_eq!(ran.stdout, "otter\n1\ndata\n1\n", "{ran:?}");
}

#[test]
fn sysctls_of_its_namespaces() {
    if !requires_root_and_busybox() {
        return;
    }
    let mut container = Fixture::shell("cat /proc/sys/net/ipv4/ip_unprivileged_port_start");
    container.linux().sysctl.insert("net.ipv4.ip_unprivileged_port_start".into(), "0".into());
    assert_eq!(container.run().unwrap().stdout, "0\n");
}

#[test]
fn the_host_binary_can_not_be_written() {
    if !requires_root_and_busybox() {
        return;
    }
    // CVE-2019-5736: `#!/proc/self/exe` makes the runtime execute itself in the container.
    let mut container = Fixture::new(&["/bin/evil"]);
    let evil = container.folder.path().join("lower/bin/evil");
    fs::write(&evil, "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(&evil, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let before = fs::read(env!("CARGO_BIN_EXE_glassdock-shim")).unwrap();
    let _ = container.run();
    assert!(before == fs::read(env!("CARGO_BIN_EXE_glassdock-shim")).unwrap());
    // And what init runs from is a sealed copy, not the file.
    let mut container = Fixture::shell("true");
    let running = container.create().unwrap();
    let exe = fs::read_link(format!("/proc/{}/exe", running.created.init_pid)).unwrap();
    assert!(exe.to_string_lossy().contains("memfd:"), "{exe:?}");
    let path = format!("/proc/{}/exe", running.created.init_pid);
    assert!(fs::OpenOptions::new().write(true).open(path).is_err());
    running.kill();
}
