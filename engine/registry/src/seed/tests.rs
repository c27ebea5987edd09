#![expect(clippy::print_stderr, reason = "a skipped test says what was missing")]

use std::io::Read;
use std::path::Path;
use std::process::Command;

use super::elf::{Machine, greeter};
use super::*;

#[test]
fn the_greeter_is_a_program_that_the_kernel_runs() {
    use std::os::unix::fs::PermissionsExt;

    if Machine::host() != "amd64" && Machine::host() != "arm64" {
        eprintln!("skipped: no greeter for {}", Machine::host());
        return;
    }
    let machine = if Machine::host() == "amd64" { Machine::Amd64 } else { Machine::Arm64 };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hello");
    std::fs::write(&path, greeter(machine, "hi there\n")).expect("write");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let output = Command::new(&path).output().expect("the kernel takes it");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"hi there\n"[..]));
}

#[test]
fn both_greeters_are_small_and_well_formed() {
    for machine in [Machine::Amd64, Machine::Arm64] {
        let file = greeter(machine, include_str!("texts/hello-world.txt"));
        assert!(file.len() < 1024, "{} bytes", file.len());
        assert!(file.starts_with(b"\x7fELF"));
    }
}

#[test]
fn the_same_seed_has_the_same_digests() {
    let digests = || -> Vec<String> {
        let seed = images(Path::new(BUSYBOX)).expect("a seed");
        seed.images
            .iter()
            .flat_map(|image| image.manifests.iter().map(|manifest| manifest.digest.clone()))
            .collect()
    };
    assert_eq!(digests(), digests());
}

#[test]
fn every_reference_inside_an_image_is_kept() {
    let seed = images(Path::new(BUSYBOX)).expect("a seed");
    for image in &seed.images {
        let known: Vec<&str> =
            image.blobs.iter().chain(&image.manifests).map(|content| content.digest.as_str()).collect();
        for manifest in &image.manifests {
            let body: serde_json::Value = serde_json::from_slice(&manifest.bytes).expect("JSON");
            let inner = ["manifests", "layers"].iter().filter_map(|key| body[*key].as_array()).flatten();
            for descriptor in inner.chain(body.get("config")) {
                assert!(
                    known.contains(&descriptor["digest"].as_str().expect("a digest")),
                    "{}",
                    image.repository
                );
            }
        }
        assert!(image.tags.iter().all(|(_, digest)| known.contains(&digest.as_str())));
    }
}

#[test]
fn a_missing_busybox_leaves_hello_world_and_says_what_to_install() {
    let seed = images(Path::new("/nonexistent/busybox")).expect("a seed");
    assert_eq!(seed.images.len(), 1);
    assert!(seed.missing.expect("a reason").to_string().contains("apt-get install busybox-static"));
}

#[test]
fn images_are_chosen_by_the_names_that_people_write() {
    let Ok(_) = userland::Busybox::read(Path::new(BUSYBOX)) else { return };
    let chosen = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        chosen(Path::new(BUSYBOX), &names)
            .map(|seed| seed.images.into_iter().map(|image| image.repository).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(chosen(&["ubuntu:12.04", "lessons/coffee"]).expect("a seed"), "library/ubuntu lessons/coffee");
    assert!(
        matches!(chosen(&["ubuntu", "windows"]), Err(Error::Unknown { name }) if name == "library/windows")
    );
    assert!(chosen(&[]).expect("a seed").ends_with(program::REPOSITORY));
}

#[test]
fn tools_of_a_stand_in_refuse_what_they_do_not_know() {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/seed/tools");
    for (tool, arguments) in [
        ("groupadd", &["--nonsense"][..]),
        ("groupadd", &[]),
        ("useradd", &["-x", "who"]),
        ("useradd", &["-r", "one", "two"]),
        ("curl", &["--nonsense", "http://127.0.0.1/"]),
        ("curl", &[]),
    ] {
        let output =
            Command::new("/bin/sh").arg(tools.join(tool)).args(arguments).output().expect("sh is there");
        assert_eq!(output.status.code(), Some(2), "{tool} {arguments:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage: "), "{tool}");
    }
}

#[test]
fn what_is_no_busybox_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("busybox");
    for content in [&b""[..], b"\x7fELF", &[0xff; 4096]] {
        std::fs::write(&path, content).expect("write");
        assert!(matches!(images(&path).expect("a seed").missing, Some(Error::OddBusybox { .. })));
    }
}

#[test]
fn the_userland_has_a_shell_under_many_names() {
    let Ok(busybox) = userland::Busybox::read(Path::new(BUSYBOX)) else {
        eprintln!("skipped: busybox-static is not installed");
        return;
    };
    let layer = busybox.layer("test").expect("a layer");
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(layer.bytes.as_slice()).read_to_end(&mut plain).expect("gzip");
    assert_eq!(layer::digest(&plain), layer.diff_id);
    let mut archive = tar::Archive::new(plain.as_slice());
    let names: Vec<String> = archive
        .entries()
        .expect("tar")
        .map(|entry| entry.expect("tar").path().expect("a path").display().to_string())
        .collect();
    for name in ["bin/sh", "bin/sleep", "bin/cat", "etc/passwd", "tmp/"] {
        assert!(names.iter().any(|other| other == name), "{name}");
    }
}
