//! `list`: which lessons there are.

use std::path::PathBuf;
use std::process::ExitCode;

use glassdock_lesson::read::Lesson;

use super::{chinese, lessons, say};

/// Lists the lessons, for people or as JSON.
pub(crate) fn list(named: Option<PathBuf>, json: bool) -> ExitCode {
    let lessons = match lessons(named) {
        Ok(lessons) => lessons,
        Err(code) => return code,
    };
    if json {
        let all: Vec<_> = lessons
            .iter()
            .map(|Lesson { scenario, .. }| {
                serde_json::json!({
                    "id": scenario.id, "chapter": scenario.chapter, "section": scenario.section,
                    "minutes": scenario.minutes, "title": scenario.title, "needs": scenario.needs,
                    "images": scenario.images, "steps": scenario.steps.len(),
                })
            })
            .collect();
        say!("{:#}", serde_json::Value::Array(all));
    } else {
        for Lesson { scenario, .. } in &lessons {
            let title = if chinese() { &scenario.title.zh } else { &scenario.title.en };
            say!("{:<16} {:>3} min  {title}", scenario.id, scenario.minutes);
        }
    }
    ExitCode::SUCCESS
}
