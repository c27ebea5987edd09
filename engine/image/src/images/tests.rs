use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::descriptor::media;

pub(super) fn open() -> (tempfile::TempDir, Images) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let images = Images::open(&folder.path().join("root")).expect("opens");
    (folder, images)
}

pub(super) fn name(text: &str) -> Reference {
    Reference::parse(text).expect("a reference").with_default_tag()
}

pub(super) fn archive(content: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    builder.append_data(&mut header, "file", content.as_bytes()).expect("added");
    builder.into_inner().expect("made")
}

/// Makes an image of layers with these contents, as a pull would.
pub(super) fn make(images: &Images, layers: &[&str], names: &[&str]) -> Result<Arc<Image>, Error> {
    let off = Trace::off();
    let archives: Vec<Vec<u8>> = layers.iter().map(|content| archive(content)).collect();
    let diff_ids: Vec<DiffId> = archives.iter().map(|bytes| DiffId(Digest::of(bytes))).collect();
    let lease = images.lease();
    let mut blobs = Vec::new();
    for ((bytes, diff_id), chain) in archives.iter().zip(&diff_ids).zip(ChainId::chain(&diff_ids)) {
        lease.hold(&diff_id.0);
        lease.hold(&chain.0);
        if images.store().has(&diff_id.0).is_none() {
            let mut ingest = images.store().ingest(&diff_id.0, Some(bytes.len() as u64))?;
            let offset = usize::try_from(ingest.offset()).expect("small");
            ingest.write(&bytes[offset..])?;
            ingest.commit(&off)?;
        }
        let blob = images.store().reader(&diff_id.0)?;
        images.layers().unpack(&off, blob, media::OCI_LAYER, diff_id, &chain, &|_| {})?;
        blobs.push(Descriptor::of(media::OCI_LAYER, bytes));
    }
    let config = json!({"os": "linux", "architecture": "amd64", "created": "2024-01-02T03:04:05Z",
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = serde_json::to_vec(&config).expect("JSON");
    let config_digest = images.store().write(&off, &config)?;
    let manifest = json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
        "config": Descriptor::new(media::OCI_CONFIG, config_digest, config.len() as u64), "layers": blobs});
    let manifest = serde_json::to_vec(&manifest).expect("JSON");
    images.store().write(&off, &manifest)?;
    let descriptor = Descriptor::of(media::OCI_MANIFEST, &manifest);
    let mut references: Vec<Reference> = names.iter().map(|text| name(text)).collect();
    references.extend(names.iter().map(|text| name(text).with_digest(&descriptor.digest)));
    images.register(&off, &descriptor, &references)
}

fn nobody(_: &Digest) -> Vec<User> {
    Vec::new()
}

fn user(running: bool) -> impl Fn(&Digest) -> Vec<User> {
    move |_| vec![User { id: "0123456789abcdef".to_owned(), running }]
}

/// A deletion in a word a line, as the API tells it; or the error.
fn delete(images: &Images, text: &str, force: bool, using: &dyn Fn(&Digest) -> Vec<User>) -> Vec<String> {
    match images.delete(&Trace::off(), text, force, using) {
        Err(error) => vec![error.to_string()],
        Ok(removed) => removed
            .into_iter()
            .map(|removed| match removed {
                Removed::Untagged { reference, .. } => {
                    format!("untagged {}", reference.split('@').next().unwrap_or_default())
                }
                Removed::Image(_) => "image".to_owned(),
                Removed::Layer(_) => "layer".to_owned(),
            })
            .collect(),
    }
}

#[test]
fn an_image_is_found_by_all_its_names() {
    let (folder, images) = open();
    let image = make(&images, &["a", "b"], &["web:1"]).expect("made");
    let digest = image.manifest.digest.to_string();
    let id = image.id.hex().to_owned();
    let texts = [
        "web:1",
        "docker.io/library/web:1",
        &id,
        &id[..6],
        &format!("sha256:{}", &id[..9]),
        &format!("web@{digest}"),
        &format!("web:9@{digest}"),
    ];
    for text in texts {
        assert_eq!(images.resolve(text).expect(text).id, image.id);
    }
    assert_eq!(images.resolve("web").expect_err("no latest").to_string(), "No such image: web:latest");
    assert_eq!(
        images.resolve("Web").expect_err("capitals").to_string(),
        "invalid reference format: repository name (library/Web) must be lowercase"
    );
    assert!(matches!(images.resolve(&"0".repeat(64)), Err(Error::NotFound(_))));
    assert!(matches!(Images::open(&folder.path().join("root")), Err(Error::Locked(_))));
    assert_eq!(images.stack(&image).len(), 2);
    // What was known is known after a restart.
    drop(images);
    let images = Images::open(&folder.path().join("root")).expect("opens again");
    assert_eq!(images.resolve("web:1").expect("known").references, image.references);
}

#[test]
fn a_name_moves_and_leaves_the_old_image_without_one() {
    let (_folder, images) = open();
    let old = make(&images, &["old"], &["web"]).expect("made");
    let new = make(&images, &["new"], &["web"]).expect("made");
    assert_eq!(images.resolve("web").expect("found").id, new.id);
    assert!(images.by_id(&old.id).expect("still here").tags().is_empty());
    images.tag(&Trace::off(), &old.id, &name("a/b:2")).expect("tagged");
    assert_eq!(images.resolve("a/b:2").expect("found").id, old.id);
    assert_eq!(images.list().len(), 2);
}

#[test]
fn deleting_follows_dockers_rules() {
    let (_folder, images) = open();
    let image = make(&images, &["a", "b"], &["web:1"]).expect("made");
    let other = make(&images, &["a", "c"], &["other"]).expect("made");
    images.tag(&Trace::off(), &image.id, &name("web:2")).expect("tagged");
    let id = image.id.short();
    let conflict =
        |how: &str, why: &str| vec![format!("conflict: unable to delete {id} ({how}) - image is {why}")];
    assert_eq!(
        delete(&images, id, false, &nobody),
        conflict("must be forced", "referenced in multiple repositories")
    );
    assert_eq!(
        delete(&images, "web:2", false, &user(true)),
        ["untagged web:2"],
        "one name of two may always go"
    );
    let named = format!(
        "conflict: unable to remove repository reference \"web:1\" (must force) - container 0123456789ab is using its referenced image {id}"
    );
    assert_eq!(delete(&images, "web:1", false, &user(false)), [named]);
    assert_eq!(
        delete(&images, id, true, &user(true)),
        conflict("cannot be forced", "being used by running container 0123456789ab")
    );
    assert_eq!(
        delete(&images, id, false, &user(false)),
        conflict("must be forced", "being used by stopped container 0123456789ab")
    );
    assert_eq!(
        delete(&images, "web:1", false, &nobody),
        ["untagged web:1", "untagged web", "image", "layer"]
    );
    assert!(images.layers().has(&other.layers[0].chain), "the shared layer stays");
    assert_eq!(
        delete(&images, "other", false, &nobody),
        ["untagged other:latest", "untagged other", "image", "layer", "layer"]
    );
    assert!(images.store().list().expect("listed").is_empty());
}

#[test]
fn a_container_keeps_the_layers_of_an_image_deleted_by_force() {
    let (_folder, images) = open();
    let image = make(&images, &["a"], &["web"]).expect("made");
    assert_eq!(delete(&images, "web", true, &user(false)), ["untagged web:latest", "untagged web", "image"]);
    assert!(images.list().is_empty() && images.resolve("web").is_err());
    assert!(images.by_id(&image.id).expect("for its container").hidden);
    images.collect(&user(false)).expect("collected");
    assert!(images.layers().has(&image.layers[0].chain));
    images.collect(&nobody).expect("collected");
    assert!(!images.layers().has(&image.layers[0].chain) && images.by_id(&image.id).is_none());
}

#[test]
fn what_a_pull_holds_is_not_collected() {
    let (_folder, images) = open();
    let digest = images.store().write(&Trace::off(), b"{}").expect("written");
    let lease = images.lease();
    lease.hold(&digest);
    images.collect(&nobody).expect("collected");
    assert!(images.store().has(&digest).is_some());
    drop(lease);
    assert_eq!(images.collect(&nobody).expect("collected").blobs, 2);
    assert!(images.store().has(&digest).is_none());
}

#[test]
fn an_image_with_a_part_missing_is_refused() {
    let (_folder, images) = open();
    let image = make(&images, &["a", "b"], &["web"]).expect("made");
    images.layers().remove(&image.layers[1].chain).expect("removed");
    let error = images.register(&Trace::off(), &image.manifest, &[name("x")]).expect_err("not whole");
    assert!(matches!(error, Error::Unsound { .. }), "{error}");
    assert!(images.resolve("x").is_err(), "nothing half visible");
}

#[test]
fn after_a_power_loss_what_is_damaged_is_made_again_or_dropped() {
    let (folder, images) = open();
    let root = folder.path().join("root");
    let safe = make(&images, &["safe"], &["safe"]).expect("made");
    images.settle().expect("settled");
    let whole = make(&images, &["whole"], &["whole"]).expect("made");
    let broken = make(&images, &["broken"], &["broken"]).expect("made");
    let blob = images.store().path(&broken.layers[0].blob.digest);
    // As after a power loss: names are there, content is not, and it is another boot.
    fs::write(blob, "").expect("emptied");
    for image in [&safe, &whole, &broken] {
        fs::write(images.layers().path(&image.layers[0].chain).join("file"), "").expect("emptied");
    }
    images
        .state()
        .write("test", |change| change.execute("UPDATE fact SET value = 'another'", []))
        .expect("changed");
    drop(images);
    let images = Images::open(&root).expect("opens");
    let content =
        |image: &Image| fs::read_to_string(images.layers().path(&image.layers[0].chain).join("file"));
    assert_eq!(content(&whole).expect("unpacked again"), "whole");
    assert_eq!(content(&safe).expect("trusted"), "", "what was settled is not looked at");
    assert!(images.resolve("broken").is_err(), "what can't be made whole is dropped");
    make(&images, &["broken"], &["broken"]).expect("and can be pulled again");
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
fn a_full_disk_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = format!(
        "mount -t tmpfs -o size=2m none {0} && exec \"$1\" --exact images::tests::full_disk_child --nocapture --ignored",
        folder.path().display()
    );
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", &script, "sh"])
        .arg(std::env::current_exe().expect("known"))
        .env("GLASSDOCK_TEST_ROOT", folder.path())
        .output();
    let text =
        output.map(|output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned());
    match text {
        Ok(text) if text.contains("1 passed") => {}
        Ok(text) if text.contains("ermission denied") || text.contains("not permitted") => {
            eprintln!("skipped: needs root to mount a small file system: {text}");
        }
        other => panic!("{other:?}"),
    }
}

/// Runs inside of the small file system.
#[test]
#[ignore = "only as a child of the test above"]
fn full_disk_child() {
    let Some(root) = std::env::var_os("GLASSDOCK_TEST_ROOT") else { return };
    let images = Images::open(Path::new(&root)).expect("opens");
    let large = "x".repeat(3 << 20);
    let error = make(&images, &[&large], &["large"]).expect_err("no room");
    assert_eq!(glassdock_trace::Failure::of(&error).errno.as_deref(), Some("ENOSPC"), "{error}");
    assert!(images.list().is_empty() && images.layers().list().expect("listed").is_empty());
    images.collect(&nobody).expect("room is made");
    make(&images, &["small"], &["small"]).expect("and then there is room");
}

#[test]
fn a_kill_at_any_moment_leaves_a_store_that_is_whole() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().join("root");
    for round in 0..12_u64 {
        let mut child = Command::new(std::env::current_exe().expect("known"))
            .args(["--exact", "images::tests::killed_child", "--ignored"])
            .env("GLASSDOCK_TEST_ROOT", &root)
            .stdout(Stdio::null())
            .spawn()
            .expect("started");
        std::thread::sleep(Duration::from_millis(40 + round * 17));
        child.kill().expect("killed");
        child.wait().expect("reaped");
        let images = Images::open(&root).expect("opens after a kill");
        for (blob, _) in images.store().list().expect("listed") {
            assert!(images.store().is_sound(&blob), "a visible blob is whole");
        }
        for image in images.list() {
            for layer in &image.layers {
                let file = images.layers().path(&layer.chain).join("file");
                assert_eq!(fs::metadata(file).expect("a visible image has its layers").len(), 200_000);
            }
        }
        for entry in fs::read_dir(root.join("layers")).expect("listed").flatten() {
            assert!(!entry.file_name().to_string_lossy().starts_with('.'), "what was half done is cleared");
        }
    }
}

/// Makes and deletes images until it is killed.
#[test]
#[ignore = "only as a child of the test above"]
fn killed_child() {
    let Some(root) = std::env::var_os("GLASSDOCK_TEST_ROOT") else { return };
    let images = Images::open(Path::new(&root)).expect("opens");
    for round in 0_u64.. {
        let contents: Vec<String> =
            (0..3).map(|layer| format!("{:08}", round % 7 * 10 + layer).repeat(25_000)).collect();
        let contents: Vec<&str> = contents.iter().map(String::as_str).collect();
        make(&images, &contents, &[&format!("web:{}", round % 5)]).expect("made");
        if round % 3 == 2 {
            let _ = images.delete(&Trace::off(), &format!("web:{}", (round + 1) % 5), true, &nobody);
            images.collect(&nobody).expect("collected");
        }
    }
}
