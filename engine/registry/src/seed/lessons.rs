//! Images that people might have built on the stand-ins: something to find, and to leave out
//! by a filter.

use super::elf::Machine;
use super::layer::{Finished, Layer};
use super::manifest::{Family, Variant, image};
use super::standins::java_layers;
use super::{About, Error, SeedImage, dockerfiles};

/// Every image below `lessons/`.
///
/// # Errors
///
/// If an archive or a manifest can't be written.
pub fn all(userland: &Finished) -> Result<Vec<SeedImage>, Error> {
    Ok(vec![java_app(userland)?, coffee(userland)?])
}

/// `java:7-jre` and one file more: what the example on its page makes.
fn java_app(userland: &Finished) -> Result<SeedImage, Error> {
    let mut layer = Layer::new("COPY app.jar /app.jar");
    layer.file(
        "app.jar",
        0o644,
        b"A stand-in for an application: this is text, and no archive of Java.\n",
    )?;
    let mut layers = java_layers(userland, "7", "jre")?;
    layers.push(layer.finish()?);
    let variant = Variant::new(Machine::host(), layers)
        .env("JAVA_VERSION", "7")
        .label("org.glassdock.stand-in", "true")
        .command(&["java", "-version"]);
    let about = About {
        description: "An application in an image, one layer on top of java:7-jre".to_owned(),
        description_zh: "装进镜像的应用：在 java:7-jre 之上多一层".to_owned(),
        readme: include_str!("texts/java-app.md").to_owned(),
        readme_zh: include_str!("texts/java-app.zh.md").to_owned(),
        stars: 12,
        pulls: 4000,
        official: false,
        stand_in: true,
        sample: true,
        dockerfiles: dockerfiles(
            &["1.0", "latest"],
            "FROM java:7-jre\nCOPY app.jar /app.jar\nCMD [\"java\", \"-version\"]\n",
        ),
    };
    image("lessons/java-app", Family::Oci, &[(&["1.0", "latest"], vec![variant])], about)
}

/// Something with the word in its description only, and with hardly a star.
fn coffee(userland: &Finished) -> Result<SeedImage, Error> {
    let mut layer = Layer::new("COPY coffee /usr/local/bin/");
    layer.file("usr/local/bin/coffee", 0o755, b"#!/bin/sh\necho 'A cup of java, from a container.'\n")?;
    let variant = Variant::new(Machine::host(), vec![userland.clone(), layer.finish()?]).command(&["coffee"]);
    let about = About {
        description: "A cup of java, from a container".to_owned(),
        description_zh: "从容器里来的一杯 java（咖啡）".to_owned(),
        readme: include_str!("texts/coffee.md").to_owned(),
        readme_zh: include_str!("texts/coffee.zh.md").to_owned(),
        stars: 1,
        pulls: 30,
        official: false,
        stand_in: false,
        sample: true,
        dockerfiles: dockerfiles(
            &["latest"],
            "FROM busybox\nCOPY coffee /usr/local/bin/\nCMD [\"coffee\"]\n",
        ),
    };
    image("lessons/coffee", Family::Oci, &[(&["latest"], vec![variant])], about)
}
