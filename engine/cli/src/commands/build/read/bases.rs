//! The images that a file's stages begin with, for checks: what the daemon has of them. With `--pull` they are fetched
//! first. Of one that isn't here, and without a daemon, nothing is known, and the checks say less.

use std::collections::BTreeMap;

use glassdock_build::File;
use glassdock_build::check::BaseImage;
use glassdock_build::plan::{Base, Stage};
use glassdock_image::Platform;
use serde_json::Value;

use crate::client::encode;
use crate::commands::{pull, reference, text};
use crate::context::Context;
use crate::failure::Failure;
use crate::words::Args;

/// What is known of each stage's image, by the place of its FROM.
pub(super) async fn of(
    cx: &mut Context,
    args: &Args,
    file: &File,
) -> Result<BTreeMap<usize, BaseImage>, Failure> {
    let mut found = BTreeMap::new();
    // A plan that makes no sense has no images.
    let stages = super::plan(args, file).map(|plan| plan.stages).unwrap_or_default();
    for stage in &stages {
        let Base::Image(name) = &stage.base else { continue };
        let Ok(parsed) = reference::parse(name) else { continue };
        let wanted = wanted(args, stage);
        if args.is("pull") {
            let platform = wanted.as_ref().map_or(String::new(), Platform::to_string);
            pull::pull_for_run(cx, &parsed.or_latest(), &platform, true).await?;
        }
        // One that isn't here is not known, and neither is any without a daemon.
        let Ok(image) = cx.client.get_json(&format!("/images/{}/json", encode(name))).await else { continue };
        let wanted = wanted.unwrap_or_else(Platform::host).to_string();
        found.insert(stage.from, base(name, &image, wanted));
    }
    Ok(found)
}

/// The platform that is asked for, if one is.
fn wanted(args: &Args, stage: &Stage) -> Option<Platform> {
    let asked = stage.platform.as_deref().unwrap_or(args.text("platform"));
    Platform::parse(asked).filter(|_| !asked.is_empty())
}

fn base(name: &str, image: &Value, wanted: String) -> BaseImage {
    let env = image["Config"]["Env"].as_array().into_iter().flatten();
    BaseImage {
        name: name.to_owned(),
        env: env.filter_map(Value::as_str).map(str::to_owned).collect(),
        has_shell: image["Config"]["Shell"].as_array().is_some_and(|words| !words.is_empty()),
        platform: format!("{}/{}", text(image, "Os"), text(image, "Architecture")),
        wanted,
    }
}
