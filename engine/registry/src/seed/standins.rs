//! BusyBox itself, and the images that stand in for larger ones.

use super::elf::Machine;
use super::layer::{Finished, Layer};
use super::manifest::{Family, Variant, image};
use super::userland::Busybox;
use super::{About, Error, SeedImage, dockerfiles};

/// Every image with a userland.
///
/// # Errors
///
/// If an archive or a manifest can't be written.
pub fn all(busybox: &Busybox, userland: &Finished) -> Result<Vec<SeedImage>, Error> {
    Ok(vec![self::busybox(busybox, userland)?, ubuntu(userland)?, java(userland)?, postgres(userland)?])
}

fn busybox(program: &Busybox, userland: &Finished) -> Result<SeedImage, Error> {
    let variant = Variant::new(Machine::host(), vec![userland.clone()]).command(&["sh"]);
    let tags = ["latest", "stable", program.version.as_str()];
    let about = About {
        description: "BusyBox: a shell and some 250 commands in one small program".to_owned(),
        description_zh: "BusyBox：一个小程序里的 shell 和大约 250 条命令".to_owned(),
        readme: include_str!("texts/busybox.md").to_owned(),
        readme_zh: include_str!("texts/busybox.zh.md").to_owned(),
        stars: 3300,
        pulls: 800_000,
        official: true,
        stand_in: false,
        sample: true,
        dockerfiles: dockerfiles(&tags, "FROM scratch\nCOPY rootfs /\nCMD [\"sh\"]\n"),
    };
    image("library/busybox", Family::Oci, &[(&tags, vec![variant])], about)
}

/// A layer with `/etc/os-release`, a `bash` that is the BusyBox shell, and the few tools of an Ubuntu
/// that Dockerfiles call and BusyBox has not, or not under that name.
fn ubuntu_layer(version: &str, name: &str) -> Result<Finished, Error> {
    let mut layer = Layer::new("COPY rootfs / # bash, os-release and lsb-release");
    layer.file(
        "bin/bash",
        0o755,
        b"#!/bin/sh\n# A stand-in: the shell of BusyBox under this name.\nexec /bin/sh \"$@\"\n",
    )?;
    for (path, script) in [
        ("usr/sbin/groupadd", include_str!("tools/groupadd")),
        ("usr/sbin/useradd", include_str!("tools/useradd")),
        ("usr/bin/curl", include_str!("tools/curl")),
    ] {
        layer.file(path, 0o755, script.as_bytes())?;
    }
    let release = format!(
        "NAME=\"Ubuntu (stand-in)\"\nVERSION=\"{version} ({name}), a stand-in made of BusyBox\"\nID=ubuntu\n\
         VERSION_ID=\"{version}\"\nPRETTY_NAME=\"Stand-in for Ubuntu {version}\"\n"
    );
    layer.file("etc/os-release", 0o644, release.as_bytes())?;
    let release = format!(
        "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE={version}\nDISTRIB_CODENAME={name}\nDISTRIB_DESCRIPTION=\"Stand-in for Ubuntu {version}\"\n"
    );
    layer.file("etc/lsb-release", 0o644, release.as_bytes())?;
    Ok(layer.finish()?)
}

fn ubuntu(userland: &Finished) -> Result<SeedImage, Error> {
    let variant = |version, name| -> Result<Vec<Variant>, Error> {
        let layers = vec![userland.clone(), ubuntu_layer(version, name)?];
        Ok(vec![
            Variant::new(Machine::host(), layers)
                .label("org.glassdock.stand-in", "true")
                .command(&["/bin/bash"]),
        ])
    };
    let about = About {
        description: "A stand-in for Ubuntu: its names and tags on a BusyBox userland".to_owned(),
        description_zh: "Ubuntu 的替身：名字和标签相同，里面是 BusyBox 的用户空间".to_owned(),
        readme: include_str!("texts/ubuntu.md").to_owned(),
        readme_zh: include_str!("texts/ubuntu.zh.md").to_owned(),
        stars: 17_000,
        pulls: 900_000,
        official: true,
        stand_in: true,
        sample: true,
        dockerfiles: dockerfiles(
            &["12.04", "precise", "14.04", "trusty", "latest"],
            "FROM busybox\nCOPY rootfs / # bash, os-release and lsb-release\n\
             LABEL org.glassdock.stand-in=true\nCMD [\"/bin/bash\"]\n",
        ),
    };
    let precise = (&["12.04", "precise"][..], variant("12.04", "precise")?);
    let trusty = (&["14.04", "trusty", "latest"][..], variant("14.04", "trusty")?);
    image("library/ubuntu", Family::Oci, &[precise, trusty], about)
}

/// The layers of a stand-in for Java, for images that are built on it too.
pub(super) fn java_layers(userland: &Finished, version: &str, kind: &str) -> Result<Vec<Finished>, Error> {
    let mut layer = Layer::new("COPY java /usr/bin/ # says which Java it stands in for");
    let program = format!(
        "#!/bin/sh\necho 'stand-in for java {version} ({kind}): this image has the shape of one with Java, and no Java' >&2\n\
         [ \"$1\" = -version ]\n"
    );
    layer.file("usr/bin/java", 0o755, program.as_bytes())?;
    Ok(vec![userland.clone(), ubuntu_layer("14.04", "trusty")?, layer.finish()?])
}

fn java(userland: &Finished) -> Result<SeedImage, Error> {
    let variant = |version: &str, kind: &str| -> Result<Vec<Variant>, Error> {
        let variant = Variant::new(Machine::host(), java_layers(userland, version, kind)?)
            .env("JAVA_VERSION", version)
            .label("org.glassdock.stand-in", "true")
            .command(&["java", "-version"]);
        Ok(vec![variant])
    };
    let text = |version: &str| {
        format!(
            "FROM ubuntu:14.04\nCOPY java /usr/bin/ # says which Java it stands in for\nENV JAVA_VERSION={version}\n\
             LABEL org.glassdock.stand-in=true\nCMD [\"java\", \"-version\"]\n"
        )
    };
    let seven = dockerfiles(&["7-jre", "7-jdk", "7"], &text("7"));
    let eight = dockerfiles(&["8-jdk", "8", "latest"], &text("8"));
    let about = About {
        description: "A stand-in for Java, as an image to search for and to build on".to_owned(),
        description_zh: "Java 的替身：可以搜索，也可以在它上面构建".to_owned(),
        readme: include_str!("texts/java.md").to_owned(),
        readme_zh: include_str!("texts/java.zh.md").to_owned(),
        stars: 1900,
        pulls: 300_000,
        official: true,
        stand_in: true,
        sample: true,
        dockerfiles: [seven, eight].concat(),
    };
    let tagged = [
        (&["7-jre"][..], variant("7", "jre")?),
        (&["7-jdk", "7"][..], variant("7", "jdk")?),
        (&["8-jdk", "8", "latest"][..], variant("8", "jdk")?),
    ];
    image("library/java", Family::Oci, &tagged, about)
}

fn postgres(userland: &Finished) -> Result<SeedImage, Error> {
    let mut layer = Layer::new("COPY postgres /usr/local/bin/ # waits to be stopped, and says what it is");
    let program = "#!/bin/sh\n\
        echo 'stand-in for postgres: it listens to nothing and keeps nothing; stop it with SIGTERM'\n\
        trap 'echo stopping; exit 0' TERM INT\n\
        while :; do sleep 1 & wait $!; done\n";
    layer.file("usr/local/bin/postgres", 0o755, program.as_bytes())?;
    layer.directory("var/lib", 0o755)?;
    layer.directory("var/lib/postgresql", 0o755)?;
    layer.directory("var/lib/postgresql/data", 0o700)?;
    let layers = vec![userland.clone(), layer.finish()?];
    let variant = Variant::new(Machine::host(), layers)
        .env("PG_MAJOR", "9.3")
        .env("PG_VERSION", "9.3.4")
        .volume("/var/lib/postgresql/data")
        .expose("5432/tcp")
        .label("org.glassdock.stand-in", "true")
        .command(&["postgres"]);
    let tags = ["9.3", "9.3.4", "latest"];
    let about = About {
        description:
            "A stand-in for PostgreSQL: its volume, its port and its variables, without the database"
                .to_owned(),
        description_zh: "PostgreSQL 的替身：有它的卷、端口和变量，没有数据库".to_owned(),
        readme: include_str!("texts/postgres.md").to_owned(),
        readme_zh: include_str!("texts/postgres.zh.md").to_owned(),
        stars: 14_000,
        pulls: 500_000,
        official: true,
        stand_in: true,
        sample: true,
        dockerfiles: dockerfiles(
            &tags,
            "FROM busybox\nCOPY postgres /usr/local/bin/\nENV PG_MAJOR=9.3\nENV PG_VERSION=9.3.4\n\
             VOLUME /var/lib/postgresql/data\nEXPOSE 5432\nLABEL org.glassdock.stand-in=true\nCMD [\"postgres\"]\n",
        ),
    };
    image("library/postgres", Family::Oci, &[(&tags, vec![variant])], about)
}
