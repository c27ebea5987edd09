//! Checks that a Dockerfile makes errors: `# check=error=true`, or the build argument that takes its place.
//!
//! Findings alone keep nobody from building, and the words of the classic builder have no place for them: who wants
//! them asks for `build --check`.

use std::collections::BTreeMap;

use glassdock_build::File;
use glassdock_build::check::{self, BaseImage, Known};
use glassdock_build::language::directive::Check;
use glassdock_build::plan::{Base, Plan, Stage};
use glassdock_image::Platform;
use glassdock_image::images::Images;

use super::request::Wish;
use super::words::Words;
use crate::error::Error;

/// Ends the build, before its first step, if there are findings and they are errors.
///
/// # Errors
///
/// Invalid, with the rules' names, as BuildKit says it; what each found is told before.
pub(super) fn heed(
    file: &File,
    plan: &Plan,
    wish: &Wish,
    images: &Images,
    words: &Words,
) -> Result<(), Error> {
    let mut known = Known { said: instead(wish)?, ..Known::default() };
    if !check::said(file, &known).error {
        return Ok(());
    }
    known.bases = bases(plan, wish, images);
    let findings = check::check(file, &known);
    if findings.is_empty() {
        return Ok(());
    }
    for finding in &findings {
        words.text(&format!("{}: {} (line {})\n", finding.rule, finding.message, finding.at.line));
    }
    Err(Error::invalid(check::violation(&findings)))
}

fn instead(wish: &Wish) -> Result<Option<Check>, Error> {
    let Some(Some(text)) = wish.arguments.get(check::ARGUMENT) else { return Ok(None) };
    let (check, wrong) = Check::read(text);
    match wrong.first() {
        None => Ok(Some(check)),
        Some(part) => Err(Error::invalid(format!(
            "invalid check option {part:?} in {}: expected skip=RULE,… or error=true",
            check::ARGUMENT
        ))),
    }
}

/// The images that stages begin with, those that are here.
fn bases(plan: &Plan, wish: &Wish, images: &Images) -> BTreeMap<usize, BaseImage> {
    let of = |stage: &Stage| {
        let Base::Image(name) = &stage.base else { return None };
        let image = images.resolve(name).ok()?;
        let wanted = stage.platform.as_deref().and_then(Platform::parse);
        let process = &image.config.config;
        let base = BaseImage {
            name: name.clone(),
            env: process.env.clone(),
            has_shell: process.shell.as_ref().is_some_and(|words| !words.is_empty()),
            platform: format!("{}/{}", image.config.os, image.config.architecture),
            wanted: wanted.as_ref().unwrap_or(&wish.platform).to_string(),
        };
        Some((stage.from, base))
    };
    plan.stages.iter().filter_map(of).collect()
}
