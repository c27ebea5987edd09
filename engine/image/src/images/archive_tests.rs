//! Archives of images, as others write them and as nobody should.

use std::collections::BTreeMap;

use serde_json::json;

use super::tests::{make, name, open};
use super::*;

/// An archive's files, by name.
type Files = BTreeMap<String, Vec<u8>>;

fn saved(images: &Images, texts: &[&str]) -> Vec<u8> {
    let wanted: Vec<_> =
        texts.iter().map(|text| (images.resolve(text).expect("an image"), vec![name(text)])).collect();
    let mut bytes = Vec::new();
    images.save_archive(&wanted, &mut bytes).expect("saved");
    bytes
}

fn load(images: &Images, archive: &[u8]) -> Result<Vec<String>, String> {
    let loaded = images.load_archive(&Trace::off(), archive, &|_| None, &|_| {}).map_err(|error| {
        std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(": ")
    })?;
    Ok(loaded.iter().flat_map(|loaded| &loaded.names).map(Reference::familiar).collect())
}

/// The files of an archive.
fn files(archive: &[u8]) -> Files {
    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut entry, &mut bytes).expect("read");
        if entry.header().entry_type().is_file() {
            files.insert(entry.path().expect("a path").display().to_string(), bytes);
        }
    }
    files
}

fn packed(files: &Files, links: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, path, bytes.as_slice()).expect("added");
    }
    for (path, target) in links {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        archive.append_link(&mut header, path, target).expect("added");
    }
    archive.into_inner().expect("made")
}

#[test]
fn what_is_saved_comes_back_the_same() {
    let (_folder, images) = open();
    let one = make(&images, &["a", "b"], &["one:1"]).expect("an image");
    let two = make(&images, &["a", "c"], &["example.org/two:2"]).expect("an image");
    let archive = saved(&images, &["one:1", "example.org/two:2"]);
    assert_eq!(archive, saved(&images, &["one:1", "example.org/two:2"]), "the same bytes each time");
    let (_other, others) = open();
    assert_eq!(load(&others, &archive).expect("loaded"), ["one:1", "example.org/two:2"]);
    for image in [one, two] {
        let same = others.resolve(&image.id.to_string()).expect("the same id");
        assert_eq!(same.manifest.digest, image.manifest.digest);
    }
    // Again, compressed: nothing is new, the names are told all the same.
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::Write::write_all(&mut gz, &archive).expect("compressed");
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    io::Write::write_all(&mut xz, &archive).expect("compressed");
    for compressed in [gz.finish().expect("done"), xz.finish().expect("done")] {
        assert_eq!(load(&others, &compressed).expect("loaded"), ["one:1", "example.org/two:2"]);
    }
}

#[test]
fn dockers_archives_without_a_layout_are_loaded() {
    let (_folder, images) = open();
    let image = make(&images, &["a", "b", "a"], &["one:1"]).expect("an image");
    let mut files = files(&saved(&images, &["one:1"]));
    files.remove("index.json");
    files.remove("oci-layout");
    // As `docker save` wrote it for years: a folder a layer; what is there twice is a link.
    let place = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    for (at, layer) in image.layers.iter().take(2).enumerate() {
        let bytes = files.get(&place(&layer.blob.digest)).expect("a layer").clone();
        files.insert(format!("{at}/layer.tar"), bytes);
    }
    let config = files.remove(&place(&image.id)).expect("a config");
    files.insert("config.json".into(), config);
    files.retain(|path, _| !path.starts_with("blobs/"));
    let manifest = json!([{"Config": "config.json", "RepoTags": ["old:1", "old:2"],
        "Layers": ["0/layer.tar", "1/layer.tar", "2/layer.tar"]}]);
    files.insert("manifest.json".into(), manifest.to_string().into_bytes());
    let (_other, others) = open();
    let archive = packed(&files, &[("2/layer.tar", "../0/layer.tar")]);
    assert_eq!(load(&others, &archive).expect("loaded"), ["old:1", "old:2"]);
    let same = others.resolve("old:2").expect("an image");
    assert_eq!((&same.id, same.layers.len()), (&image.id, 3));
    assert!(others.layers().has(&same.layers[2].chain));
}

#[test]
fn archives_that_lie_are_refused() {
    let (_folder, images) = open();
    let image = make(&images, &["a"], &["one:1"]).expect("an image");
    let good = files(&saved(&images, &["one:1"]));
    let layer = format!("blobs/sha256/{}", image.layers[0].blob.digest.hex());
    let manifest = format!("blobs/sha256/{}", image.manifest.digest.hex());
    let refused = |change: &dyn Fn(&mut Files), message: &str| {
        let mut files = good.clone();
        change(&mut files);
        let (_other, others) = open();
        let error = load(&others, &packed(&files, &[])).expect_err(message);
        assert!(error.contains(message), "{error}");
        assert!(others.list().is_empty() && others.store().remove_partial().is_ok());
    };
    refused(&|files| files.clear(), "neither a manifest.json nor an index.json");
    refused(&|files| drop(files.insert(layer.clone(), b"another".to_vec())), "does not match its digest");
    refused(&|files| drop(files.insert(manifest.clone(), b"{}".to_vec())), "does not match its digest");
    refused(&|files| drop(files.remove(&layer)), "it has no file");
    refused(
        &|files| drop(files.insert("manifest.json".into(), b"[{}]".to_vec())),
        "manifest.json can't be read",
    );
    let only = |files: &mut Files, entry: serde_json::Value| {
        files.remove("index.json");
        files.insert("manifest.json".into(), json!([entry]).to_string().into_bytes());
    };
    let config = format!("blobs/sha256/{}", image.id.hex());
    refused(&|files| only(files, json!({"Config": "../../etc/passwd"})), "leads out of it");
    refused(&|files| only(files, json!({"Config": config, "Layers": []})), "has 0 layers, its config 1");
    refused(
        &|files| only(files, json!({"Config": config, "Layers": [config]})),
        "does not match its diff id",
    );
    refused(
        &|files| {
            files.insert("evil".into(), super::tests::archive("evil"));
            only(files, json!({"Config": config, "Layers": ["evil"]}));
        },
        "does not match its diff id",
    );
    let (_other, others) = open();
    assert!(load(&others, b"garbage").is_err() && load(&others, b"").is_err());
    let loop_ = packed(&BTreeMap::new(), &[("manifest.json", "manifest.json")]);
    assert!(load(&others, &loop_).is_err());
}

#[test]
fn an_archive_in_any_compression_becomes_a_layer() {
    let (_folder, images) = open();
    let lease = images.lease();
    let archive = super::tests::archive("content");
    let mut bz = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    io::Write::write_all(&mut bz, &archive).expect("compressed");
    for bytes in [archive.clone(), bz.finish().expect("done")] {
        let mut fresh = images.store().fresh().expect("a blob");
        io::Write::write_all(&mut fresh, &bytes).expect("written");
        let made = images.adopt_layer(&Trace::off(), &lease, fresh, None, &[]).expect("a layer");
        assert_eq!(made.diff_id.0, Digest::of(&archive));
        assert!(images.layers().path(&made.chain).join("file").is_file());
        assert!(
            crate::layer::decompressed(images.store().reader(&made.blob.digest).expect("a blob")).is_ok()
        );
    }
}

#[test]
fn a_load_tells_how_far_it_is() {
    let (_folder, images) = open();
    make(&images, &["a", "b"], &["one:1"]).expect("an image");
    let archive = saved(&images, &["one:1"]);
    let (_other, others) = open();
    let told = std::cell::RefCell::new(Vec::new());
    let tell = |loading: Loading| told.borrow_mut().push(loading);
    others.load_archive(&Trace::off(), archive.as_slice(), &|_| None, &tell).expect("loaded");
    let told = told.into_inner();
    for layer in &others.resolve("one:1").expect("an image").layers {
        let of_layer: Vec<_> = told
            .iter()
            .filter_map(|loading| match loading {
                Loading::Layer(id, size) if *id == layer.diff_id => Some((0, *size)),
                Loading::Some(id, done, size) if *id == layer.diff_id => Some((*done, *size)),
                Loading::Done(id, size) if *id == layer.diff_id => Some((*size, *size)),
                _ => None,
            })
            .collect();
        assert!(of_layer.len() >= 3, "begin, some, end: {told:?}");
        assert!(of_layer.is_sorted_by_key(|(done, _)| *done), "{of_layer:?}");
        assert!(of_layer.iter().all(|(done, size)| done <= size && *size == layer.blob.size), "{of_layer:?}");
    }
}
