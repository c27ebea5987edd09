//! Layers that are unpacked when somebody needs them.

use std::fs;

use super::make::Changed;
use super::tests::{make, name, open};
use super::*;
use crate::config::RootFs;

/// Commits a folder onto an image, which stays as it is.
fn commit(images: &Images, base: &Image, upper: &Path, called: &str) -> Arc<Image> {
    let (off, lease) = (Trace::off(), images.lease());
    let below = &base.config.rootfs.diff_ids;
    let lower = images.stack(base);
    let changed = Changed { upper, lower: &lower, below, latest: None, mounts: &[], take: false };
    let made = images.commit_changes(&off, &lease, changed).expect("committed").expect("a change");
    let mut diff_ids = below.clone();
    diff_ids.push(made.diff_id.clone());
    let rootfs = RootFs { kind: "layers".to_owned(), diff_ids };
    let config = serde_json::to_vec(&Config { rootfs, ..(*base.config).clone() }).expect("JSON");
    let mut layers: Vec<Descriptor> = base.layers.iter().map(|layer| layer.blob.clone()).collect();
    layers.push(made.blob);
    images.assemble(&off, &lease, &config, layers, &[name(called)]).expect("an image")
}

#[test]
fn a_committed_layer_is_unpacked_when_it_is_needed() {
    let (folder, images) = open();
    let base = make(&images, &["base"], &["base"]).expect("made");
    let upper = folder.path().join("upper");
    fs::create_dir_all(upper.join("new")).expect("a folder");
    fs::write(upper.join("new/file"), "content").expect("a file");
    let image = commit(&images, &base, &upper, "later");
    let chain = image.chain().pop().expect("a layer");
    assert!(images.layers().is_known(&chain) && !images.layers().has(&chain));
    assert!(image.size > base.size, "its size is known all the same");
    // What the container writes now is no part of it.
    fs::write(upper.join("new/file"), "other").expect("written");
    // The same once more, from another folder: nothing is unpacked either.
    let same = folder.path().join("same");
    fs::create_dir_all(same.join("new")).expect("a folder");
    fs::write(same.join("new/file"), "x").expect("a file");
    let other = commit(&images, &base, &same, "other");
    assert_ne!(other.id, image.id);
    images.ready(&Trace::off(), &image.layers).expect("unpacked");
    images.ready(&Trace::off(), &image.layers).expect("nothing to do");
    let file = images.layers().path(&chain).join("new/file");
    assert_eq!(fs::read_to_string(file).expect("a file"), "content");
    assert_eq!(images.layers().size(&chain).map(|size| size.bytes), Some(7));
    // One that nobody needed goes with its image.
    let chain = other.chain().pop().expect("a layer");
    images.delete(&Trace::off(), "other", false, &|_| Vec::new()).expect("deleted");
    assert!(!images.layers().is_known(&chain));
}

#[test]
fn a_noted_layer_outlives_a_restart_and_a_power_loss() {
    let (folder, images) = open();
    let base = make(&images, &["base"], &["base"]).expect("made");
    let upper = folder.path().join("upper");
    fs::create_dir_all(&upper).expect("a folder");
    fs::write(upper.join("file"), "content").expect("a file");
    let image = commit(&images, &base, &upper, "later");
    let chain = image.chain().pop().expect("a layer");
    drop(images);
    let images = Images::open(&folder.path().join("root")).expect("opened again");
    assert!(images.layers().is_known(&chain) && !images.layers().has(&chain));
    // Another boot: what is not known to be on the disk is made anew.
    images
        .state()
        .write("pretend another boot", |transaction| {
            transaction.execute("UPDATE fact SET value = 'another' WHERE name = 'boot'", [])
        })
        .expect("written");
    drop(images);
    let images = Images::open(&folder.path().join("root")).expect("opened again");
    let image = images.resolve("later").expect("the image is there");
    images.ready(&Trace::off(), &image.layers).expect("unpacked");
    assert!(images.layers().path(&chain).join("file").is_file());
}
