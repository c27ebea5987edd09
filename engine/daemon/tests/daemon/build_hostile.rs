//! Contexts and Dockerfiles that mean no good, and caches of `--cache-from`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;

use tar::EntryType;

use crate::build::{build, context, said};
use crate::build_mounts::post;
use crate::support::{Lab, eventually, lab};

/// An archive whose headers say whatever they say.
#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    fn put(mut self, name: &str, kind: EntryType, link: &str, content: &[u8]) -> Self {
        self.header(name, kind, link, content.len() as u64);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn header(&mut self, name: &str, kind: EntryType, link: &str, size: u64) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(size);
        let fields = header.as_gnu_mut().expect("a header");
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_device_major(1).expect("a device");
        header.set_device_minor(8).expect("a device");
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
    }

    fn send(mut self, lab: &Lab) -> String {
        self.0.resize(self.0.len() + 1024, 0);
        self.send_as_it_is(lab)
    }

    fn send_as_it_is(self, lab: &Lab) -> String {
        let mut stream = UnixStream::connect(lab.socket()).expect("the daemon");
        let head = format!(
            "POST /build HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-tar\r\nContent-Length: {}\r\n\r\n",
            self.0.len()
        );
        stream.write_all(head.as_bytes()).expect("sent");
        // Who is refused early needs not be heard to the end.
        let _ = stream.write_all(&self.0);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }
}

fn nothing_is_left(lab: &Lab) {
    assert!(eventually(|| std::fs::read_dir(lab.root().join("builds")).map_or(0, Iterator::count) == 0));
    assert_eq!(lab.json("GET", "/containers/json", "").1, serde_json::json!([]));
}

#[test]
fn archives_that_mean_no_good_do_none() {
    let Some(lab) = lab() else { return };
    let file = |dockerfile: &str| {
        Archive::default().put("Dockerfile", EntryType::Regular, "", dockerfile.as_bytes())
    };
    // What an absolute path means is inside too; devices and pipes are no files that can be copied.
    let odd = file("FROM busybox\nCOPY . /x\nRUN ls /x; test ! -e /x/device -a ! -e /x/pipe\n")
        .put("/absolute", EntryType::Regular, "", b"x")
        .put("device", EntryType::Char, "", b"")
        .put("pipe", EntryType::Fifo, "", b"")
        .put("folder", EntryType::Directory, "", b"");
    let words = odd.send(&lab);
    assert!(words.contains("Successfully built") && words.contains("absolute"), "{words}");
    // A name of a file outside is none.
    let hard =
        file("FROM busybox\nCOPY stolen /\n").put("stolen", EntryType::Link, "../../../etc/passwd", b"");
    let words = hard.send(&lab);
    assert!(!words.contains("Successfully built"), "{words}");
    // A link to a folder outside, and something in it.
    let through = file("FROM busybox\nCOPY . /\n").put("way", EntryType::Symlink, "/tmp", b"").put(
        "way/glassdock-was-here",
        EntryType::Regular,
        "",
        b"x",
    );
    through.send(&lab);
    assert!(!std::path::Path::new("/tmp/glassdock-was-here").exists());
    // An archive that says it is larger than anything.
    let mut large = file("FROM busybox\n");
    large.header("large", EntryType::Regular, "", 1 << 50);
    let words = large.send(&lab);
    assert!(words.contains("more than") || words.contains("bytes"), "{words}");
    let mut larger = file("FROM busybox\n");
    larger.header("larger", EntryType::Regular, "", u64::MAX);
    let words = larger.send(&lab);
    assert!(words.contains("a size that no file has"), "{words}");
    // One that breaks off, and one that is none.
    let mut broken = file("FROM busybox\n");
    broken.header("broken", EntryType::Regular, "", 1 << 20);
    assert!(!broken.send(&lab).contains("Successfully built"));
    assert!(!Archive(b"this is no archive at all".repeat(100)).send(&lab).contains("Successfully built"));
    nothing_is_left(&lab);
}

#[test]
fn archives_that_are_wrong_are_their_senders_to_mend() {
    let Some(lab) = lab() else { return };
    let file = || Archive::default().put("Dockerfile", EntryType::Regular, "", b"FROM scratch\nCOPY . /\n");
    let link = |target: &str| file().put("link", EntryType::Link, target, b"").send(&lab);
    let below = |kind: EntryType, target: &str| {
        file().put("x", kind, target, b"").put("x/y", EntryType::Regular, "", b"").send(&lab)
    };
    let packed = |from: usize, to: usize| {
        let mut whole = file().0;
        whole.resize(whole.len() + 1024, 0);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&whole).expect("packed");
        let gzip = gzip.finish().expect("packed");
        let mut bytes = gzip[..gzip.len() - from].to_vec();
        bytes.truncate(bytes.len().min(to));
        Archive(bytes).send_as_it_is(&lab)
    };
    let mut flipped = file();
    flipped.0[3] ^= 1;
    for (answer, wanted) in [
        (link("/etc/passwd"), "etc/passwd"),
        (link("nothing"), "a hard link comes after"),
        (link("link"), "a hard link comes after"),
        (below(EntryType::Symlink, "/etc"), "no folder came before it"),
        (below(EntryType::Regular, ""), "no folder came before it"),
        (flipped.send(&lab), "wrong checksum; make it anew"),
        (packed(60, usize::MAX), "cut off"),
        (packed(0, 2), "cut off"),
        (packed(0, 12), "cut off"),
        (Archive(b"BZh9 and no more of it".to_vec()).send_as_it_is(&lab), "damaged"),
        (Archive(b"\xfd7zXZ\0 and no more of it".to_vec()).send_as_it_is(&lab), "damaged"),
        (Archive(b"\x28\xb5\x2f\xfd".to_vec()).send_as_it_is(&lab), "damaged"),
    ] {
        assert!(answer.starts_with("HTTP/1.1 400 "), "{wanted}: {answer}");
        assert!(answer.contains(wanted), "{wanted}: {answer}");
    }
    assert!(packed(0, usize::MAX).contains("Successfully built"), "the whole one is well");
    nothing_is_left(&lab);
}

#[test]
fn checks_that_are_errors_end_a_build_before_its_first_step() {
    let Some(lab) = lab() else { return };
    let strict = "# check=error=true\nFROM busybox\nENV WHERE=$PATH WHAT=$NOTHING\n";
    let words = post(&lab, "t=never", "", &[("Dockerfile", strict.as_bytes())]);
    assert!(words.contains("lint violation found for rules: UndefinedVar"), "{words}");
    assert!(words.contains("'$NOTHING' (line 3)") && !words.contains("$PATH"), "{words}");
    assert!(!words.contains("Step 1"), "{words}");
    assert_eq!(lab.request("GET", "/images/never/json", "").0, 404);
    // The argument counts more than the file.
    let said = |said: &str| {
        let query = format!("buildargs={{\"BUILDKIT_DOCKERFILE_CHECK\":\"{said}\"}}");
        post(
            &lab,
            &query.replace('{', "%7B").replace('}', "%7D").replace('"', "%22"),
            "",
            &[("Dockerfile", strict.as_bytes())],
        )
    };
    let words = said("skip=UndefinedVar;error=true");
    assert!(words.contains("Successfully built") && !words.contains("not consumed"), "{words}");
    let words = said("skip=none");
    assert!(words.contains("Successfully built"), "a finding alone is no error: {words}");
    let words = said("skpi=all");
    assert!(words.contains("invalid check option"), "{words}");
    nothing_is_left(&lab);
}

#[test]
fn dockerfiles_that_mean_no_good_do_none() {
    let Some(lab) = lab() else { return };
    let mut doubling = "FROM scratch\nENV A=aaaaaaaa\n".to_owned();
    doubling.push_str(&"ENV A=$A$A\n".repeat(60));
    let mut many = "FROM scratch\nENV A=aaaaaaaa\n".to_owned();
    many.push_str(&"ENV A=$A$A\n".repeat(17));
    for number in 0..9 {
        many.push_str(&format!("ENV B{number}=$A\n"));
    }
    let huge = format!("FROM scratch\n{}", "# nothing\n".repeat(900_000));
    let long = format!("FROM scratch\nENV A={}\n", "a".repeat(3 << 20));
    let deep = format!("FROM scratch\nENV A={}x{}\n", "${B:-".repeat(10_000), "}".repeat(10_000));
    let cases: [(&[u8], &str); 9] = [
        (b"", "file with no instructions"),
        (b"\xff\xfeF\x00R\x00", "UTF-8"),
        (b"FROM scratch\nONBUILD ONBUILD RUN x\n", "ONBUILD"),
        (b"FROM scratch\nONBUILD FROM x\n", "ONBUILD trigger"),
        (doubling.as_bytes(), "dockerfile line"),
        (many.as_bytes(), "larger than"),
        (huge.as_bytes(), "larger than"),
        (long.as_bytes(), "line greater than"),
        (deep.as_bytes(), "dockerfile line"),
    ];
    for (dockerfile, wanted) in cases {
        let words = post(&lab, "t=never", "", &[("Dockerfile", dockerfile)]);
        let start: String = words.chars().take(400).collect();
        assert!(!words.contains("Successfully built"), "{start}");
        assert!(words.contains(wanted), "{wanted}: {start} … {}", &words[words.len().saturating_sub(300)..]);
    }
    assert_eq!(lab.request("GET", "/images/never/json", "").0, 404);
    nothing_is_left(&lab);
}

#[test]
fn a_registry_that_goes_away_leaves_no_image() {
    let Some(lab) = lab() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    // It says that there is something, and hangs up.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 2048];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\nContent-Length: 5000\r\n\r\n{\"schema");
        }
    });
    let dockerfile = format!(
        "FROM busybox AS fine\nRUN true\nFROM 127.0.0.1:{port}/gone:1\nCOPY --from=fine /bin/true /\n"
    );
    let words = post(&lab, "t=never", "", &[("Dockerfile", dockerfile.as_bytes())]);
    assert!(words.contains("\"error\"") || words.contains("message"), "{words}");
    assert!(words.contains("gone") && !words.contains("Successfully built"), "{words}");
    assert_eq!(lab.request("GET", "/images/never/json", "").0, 404);
    nothing_is_left(&lab);
}

#[test]
fn an_image_is_the_cache_of_another_machine() {
    let (Some(one), Some(other)) = (lab(), lab()) else { return };
    let files = [
        (
            "Dockerfile",
            "FROM busybox\nARG WHO=me\nENV A=$WHO\nCOPY file /file\nRUN echo $A > /made\nRUN true\n",
        ),
        ("file", "x"),
    ];
    let folder = context(&files);
    let Some(output) = build(&one, folder.path(), &["-t", "cached"]) else { return };
    assert!(output.status.success(), "{}", said(&output));
    let archive = folder.path().with_extension("tar");
    let path = archive.to_str().expect("text").to_owned();
    one.docker(&["save", "-o", &path, "cached"]).expect("docker");
    other.docker(&["load", "-i", &path]).expect("docker");
    std::fs::remove_file(&archive).expect("removed");
    let count = |output: std::process::Output| said(&output).matches("Using cache").count();
    let with = |more: &[&str]| count(build(&other, folder.path(), more).expect("docker"));
    assert_eq!(with(&["--cache-from", "no-such-image"]), 0);
    assert_eq!(with(&["--cache-from", "cached", "-t", "again"]), 5);
    let id = |lab: &Lab, name: &str| lab.json("GET", &format!("/images/{name}/json"), "").1["Id"].clone();
    assert_eq!(id(&other, "again"), id(&one, "cached"));
    assert_eq!(with(&["--cache-from", "cached", "--build-arg", "WHO=you"]), 0);
    std::fs::write(folder.path().join("file"), "y").expect("written");
    assert_eq!(with(&["--cache-from", "cached"]), 2, "a file that changed ends it");
}
