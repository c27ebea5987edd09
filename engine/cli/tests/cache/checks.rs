//! `build --check` beside a daemon, which knows the images; and `builder prune`.

use std::fs;

use super::{Engine, Result, registry, skipped};

#[test]
fn checks_know_the_images_that_are_here() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let context = folder.path().join("context");
    fs::create_dir(&context)?;
    let path = context.display().to_string();
    let write = |text: &str| fs::write(context.join("Dockerfile"), text);
    let (_registry, address) = registry(folder.path())?;
    let engine = Engine::start(folder.path(), "k", &address)?;
    let check = |words: &[&str]| match engine.run(&[&["build", "--check"], words, &[&path]].concat()) {
        Ok(said) => said,
        Err(said) => said.to_string(),
    };
    write("FROM mine\nENV A=$KNOWN B=$UNKNOWN\nCMD [\"true\"]\n")?;
    assert_eq!(check(&[]), "", "nobody knows the image");
    engine.run(&["pull", "--quiet", "busybox"])?;
    fs::write(context.join("base"), "FROM busybox\nENV KNOWN=1\n")?;
    engine.run(&["build", "--quiet", "-t", "mine", "-f", &format!("{path}/base"), &path])?;
    let found = check(&[]);
    assert!(found.contains("2:16: warning: UndefinedVar") && found.lines().count() == 1, "{found}");
    let found = check(&["--platform", "linux/s390x"]);
    assert!(found.contains("InvalidBaseImagePlatform: Base image mine was pulled with platform"), "{found}");
    assert_eq!(check(&["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=UndefinedVar"]), "");
    // With --pull the image is fetched first.
    engine.run(&["rmi", "--force", "mine", "busybox"])?;
    write("FROM busybox\nENV A=$UNKNOWN\n")?;
    assert_eq!(check(&[]), "");
    let found = check(&["--pull"]);
    assert!(found.contains("UndefinedVar"), "{found}");
    Ok(())
}

#[test]
fn the_cache_is_pruned() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let context = folder.path().join("context");
    fs::create_dir(&context)?;
    fs::write(
        context.join("Dockerfile"),
        "FROM busybox\nRUN --mount=type=cache,target=/c dd if=/dev/zero of=/c/f bs=1k count=64\n",
    )?;
    let (_registry, address) = registry(folder.path())?;
    let engine = Engine::start(folder.path(), "p", &address)?;
    assert_eq!(engine.found(&["-t", "kept"], &context)?, 0);
    assert_eq!(engine.found(&[], &context)?, 1);
    let kept = engine.run(&["builder", "prune", "--force", "--keep-storage", "1GB"])?;
    assert_eq!(kept, "Total reclaimed space: 0B\n");
    assert_eq!(engine.found(&[], &context)?, 1, "nothing went");
    let said = engine.run(&["builder", "prune", "--all", "--force"])?;
    assert!(said.starts_with("Deleted build cache objects:\n"), "{said}");
    assert!(said.ends_with("\n\nTotal reclaimed space: 65.54kB\n"), "{said}");
    assert_eq!(engine.found(&[], &context)?, 0, "all is forgotten");
    // `system prune` says that it removes it, and does.
    let said = engine.run(&["system", "prune", "--force"])?;
    assert!(said.contains("Deleted build cache objects:\n"), "{said}");
    assert_eq!(engine.found(&[], &context)?, 0);
    Ok(())
}
