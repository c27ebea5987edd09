//! Other people's clients and servers, and the seed that goes around between them.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use glassdock_image::{Digest, Images, Platform, Reference};
use glassdock_registry::client::{Client, ClientConfig, Credentials, Error, Silent};
use glassdock_registry::{seed, server};
use glassdock_trace::Trace;

use crate::support::{Kept, Registry};

/// Runs a program; `None`, with a word on stderr, where it is not installed.
async fn run(program: &'static str, arguments: Vec<String>) -> Option<(bool, String)> {
    let output = tokio::task::spawn_blocking(move || Command::new(program).args(arguments).output());
    match output.await.expect("no panic") {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            Some((output.status.success(), text))
        }
        Err(error) => {
            skipped(program, &error);
            None
        }
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test says what was missing")]
fn skipped(program: &str, error: &std::io::Error) {
    eprintln!("skipped: {program}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_the_seed_out_and_in_again() {
    let registry = Registry::start().await;
    let seed = seed::images(Path::new(seed::BUSYBOX)).expect("the seed is made");
    server::plant(registry.root.path(), &seed.images).expect("the seed is planted");
    server::plant(registry.root.path(), &seed.images).expect("planting twice is planting once");
    let host = registry.url.trim_start_matches("http://").to_owned();
    for image in &seed.images {
        for (tag, digest) in &image.tags {
            let source = format!("docker://{host}/{}:{tag}", image.repository);
            let copy = format!("docker://{host}/copy/{}:{tag}", image.repository);
            let copied =
                ["copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", &source, &copy];
            let Some((ok, text)) = run("skopeo", copied.map(str::to_owned).to_vec()).await else { return };
            assert!(ok, "{text}");
            let raw = ["inspect", "--raw", "--tls-verify=false", &copy].map(str::to_owned).to_vec();
            let (ok, text) = run("skopeo", raw).await.expect("it ran before");
            assert!(ok, "{text}");
            assert_eq!(&glassdock_image::digest::Digest::of(text.as_bytes()).to_string(), digest);
        }
    }
}

/// Debian's registry, with a certificate that vouches for itself, made as Docker's manual says, for one user with a password.
struct Distribution {
    host: String,
    folder: tempfile::TempDir,
    child: Child,
}

impl Drop for Distribution {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Distribution {
    async fn start() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name).display().to_string();
        let port =
            TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port();
        let host = format!("127.0.0.1:{port}");
        let authority = folder.path().join("certs.d").join(&host);
        std::fs::create_dir_all(&authority).expect("a folder");
        let line = format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test \
             -addext subjectAltName=IP:127.0.0.1 -keyout {} -out {}",
            at("key.pem"),
            at("cert.pem")
        );
        let (ok, text) = run("openssl", line.split_whitespace().map(str::to_owned).collect()).await?;
        assert!(ok, "{text}");
        std::fs::copy(at("cert.pem"), authority.join("ca.crt")).expect("copied");
        let hash = bcrypt::hash("open sesame", 4).expect("a hash");
        std::fs::write(at("htpasswd"), format!("ali:{hash}\n")).expect("written");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '{host}', tls: {{certificate: {}, key: {}}}}}\n\
             auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
            at("data"),
            at("cert.pem"),
            at("key.pem"),
            at("htpasswd"),
        );
        std::fs::write(at("config.yml"), config).expect("written");
        let child = Command::new("docker-registry")
            .args(["serve", &at("config.yml")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| skipped("docker-registry", &error))
            .ok()?;
        for _ in 0..200 {
            if std::net::TcpStream::connect(&host).is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(Self { host, folder, child })
    }

    fn client(&self) -> Client {
        trusting(self.folder.path().join("certs.d"))
    }

    fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.host).parse().expect("a reference")
    }
}

fn trusting(certificates: std::path::PathBuf) -> Client {
    Client::new(ClientConfig { certificates: vec![certificates], ..ClientConfig::default() })
}

fn root() -> (Images, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    (Images::open(folder.path()).expect("an empty root"), folder)
}

fn ali(password: &str) -> Credentials {
    Credentials::Basic { username: "ali".to_owned(), password: password.to_owned() }
}

async fn seeded() -> (Registry, seed::Seed, String) {
    let registry = Registry::start().await;
    let seed = seed::images(Path::new(seed::BUSYBOX)).expect("the seed is made");
    server::plant(registry.root.path(), &seed.images).expect("the seed is planted");
    let host = registry.url.trim_start_matches("http://").to_owned();
    (registry, seed, host)
}

/// Our client pulls from our server, pushes to Debian's over TLS with a password, and pulls
/// from there: the digests stay.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_pulled_here_is_pushed_there_as_it_is() {
    let Some(there) = Distribution::start().await else { return };
    let (_registry, seed, here) = seeded().await;
    let client = there.client();
    let (images, _folder) = root();
    let (platform, trace, credentials) = (Platform::host(), Trace::off(), ali("open sesame"));
    let silent = || Arc::new(Silent);
    for image in &seed.images {
        let (tag, _) = &image.tags[0];
        let source: Reference = format!("{here}/{}:{tag}", image.repository).parse().expect("a reference");
        let pulled = client.pull(&trace, &source, &platform, None, &images, silent()).await.expect("pulled");
        assert!(!pulled.up_to_date);
        let again = client.pull(&trace, &source, &platform, None, &images, silent()).await.expect("again");
        assert!(again.up_to_date);
        let target = there.reference(&format!("copy/{}:{tag}", image.repository));
        images.tag(&trace, &pulled.image.id, &target).expect("tagged");
        let pushed =
            client.push(&trace, &target, Some(&credentials), &images, silent()).await.expect("pushed");
        assert_eq!(pushed.digest, pulled.image.manifest.digest);
        let (other, _folder) = root();
        let back = client
            .pull(&trace, &target, &platform, Some(&credentials), &other, silent())
            .await
            .expect("back");
        assert_eq!((&back.digest, &back.image.id), (&pushed.digest, &pulled.image.id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_other_registry_has_is_not_sent_again() {
    let Some(there) = Distribution::start().await else { return };
    let (_registry, _seed, here) = seeded().await;
    let client = there.client();
    let (images, _folder) = root();
    let (trace, credentials) = (Trace::off(), ali("open sesame"));
    let silent = || Arc::new(Silent);
    let source: Reference = format!("{here}/library/hello-world").parse().expect("a reference");
    let pulled =
        client.pull(&trace, &source, &Platform::host(), None, &images, silent()).await.expect("pulled");
    let (first, second) = (there.reference("first:1"), there.reference("second:1"));
    images.tag(&trace, &pulled.image.id, &first).expect("tagged");
    client.push(&trace, &first, Some(&credentials), &images, silent()).await.expect("pushed");
    let (told, kept) = Kept::trace();
    client.push(&told, &first, Some(&credentials), &images, silent()).await.expect("pushed again");
    assert!(kept.text().contains("the registry has it"));
    images.tag(&trace, &pulled.image.id, &second).expect("tagged");
    let (told, kept) = Kept::trace();
    client.push(&told, &second, Some(&credentials), &images, silent()).await.expect("mounted");
    assert!(kept.kinds().contains(&"blob.mount"), "{:?}", kept.kinds());
    assert!(!kept.text().contains("open sesame"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_come_in_is_told_so_in_dockers_words() {
    let Some(there) = Distribution::start().await else { return };
    let (client, trace, reference) = (there.client(), Trace::off(), there.reference("x:1"));
    let (images, _folder) = root();
    let platform = Platform::host();
    let refused = |credentials: Option<Credentials>| {
        let (client, trace, reference, images, platform) = (&client, &trace, &reference, &images, &platform);
        async move {
            let pulled =
                client.pull(trace, reference, platform, credentials.as_ref(), images, Arc::new(Silent));
            pulled.await.expect_err("it is not there").to_string()
        }
    };
    assert_eq!(refused(Some(ali("guessed"))).await, "unauthorized: authentication required");
    let words = format!("Get \"https://{}/v2/x/manifests/1\": no basic auth credentials", there.host);
    assert_eq!(refused(None).await, words);
    let words = format!("manifest for {}/x:1 not found: manifest unknown: manifest unknown", there.host);
    assert_eq!(refused(Some(ali("open sesame"))).await, words);

    let strict = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(strict.path().join(&there.host)).expect("a folder without an authority");
    let strict = trusting(strict.path().to_owned());
    let error = strict.look_up(&trace, &reference, None).await.expect_err("an unknown authority");
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    // Without a folder in certs.d a loopback address may have any certificate: http is tried first.
    let careless = trusting("/nonexistent".into());
    let error = careless.look_up(&trace, &reference, Some(&ali("open sesame"))).await.expect_err("not there");
    assert!(matches!(error, Error::ManifestUnknown { .. }), "{error:?}");
}

/// Images as skopeo writes them: OCI and Docker's schema 2, gzip and zstd.
#[tokio::test(flavor = "multi_thread")]
async fn every_form_that_skopeo_writes_is_understood() {
    let (_registry, _seed, host) = seeded().await;
    let source = format!("docker://{host}/library/busybox:latest");
    let client = Client::new(ClientConfig::default());
    for (name, format, compression) in [("a", "v2s2", "gzip"), ("b", "oci", "gzip"), ("c", "oci", "zstd")] {
        let target = format!("docker://{host}/forms/{name}:1");
        let line = format!(
            "copy --src-tls-verify=false --dest-tls-verify=false --format {format} \
             --dest-compress-format {compression} {source} {target}"
        );
        let arguments = line.split_whitespace().map(str::to_owned).collect();
        let Some((ok, text)) = run("skopeo", arguments).await else { return };
        assert!(ok, "{text}");
        let reference: Reference = format!("{host}/forms/{name}:1").parse().expect("a reference");
        let (images, _folder) = root();
        let pulled = client
            .pull(&Trace::off(), &reference, &Platform::host(), None, &images, Arc::new(Silent))
            .await
            .expect("pulled");
        let raw = images.store().read(&pulled.digest).expect("the manifest is kept");
        assert_eq!(Digest::of(&raw), pulled.digest);
    }
}
