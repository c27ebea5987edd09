//! The beginning of a new scenario file.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why no file was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The id does not name a chapter.
    #[error("\"{0}\" is no lesson's id: write the chapter's number and a name, such as 03-tags")]
    Id(String),
    /// The file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not; it may exist already.
        source: io::Error,
    },
}

/// Writes `FOLDER/ID.yaml`, which must not exist; returns its path.
///
/// # Errors
///
/// [`Error`].
pub fn write(folder: &Path, id: &str) -> Result<PathBuf, Error> {
    let wrong = || Error::Id(id.to_owned());
    let (chapter, name) = id.split_once('-').ok_or_else(wrong)?;
    let chapter: u32 = chapter.parse().map_err(|_| wrong())?;
    if name.is_empty()
        || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    {
        return Err(wrong());
    }
    let path = folder.join(format!("{id}.yaml"));
    let failed = |source| Error::Write { path: path.clone(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed)?;
    file.write_all(text(id, chapter).as_bytes()).map_err(failed)?;
    Ok(path)
}

fn text(id: &str, chapter: u32) -> String {
    format!(
        "# yaml-language-server: $schema=schema.json
format: 1
id: {id}
chapter: {chapter}
minutes: 5
title:
  en: A title
  zh: 标题
about:
  en: What the lesson is about.
  zh: 这一课讲什么。
needs: [root, overlayfs, namespaces, cgroups, network]
images: [hello-world]
steps:
  - id: first
    say:
      en: What the student reads before the command.
      zh: 学生在输入命令之前读到的话。
    do: docker pull hello-world
    check:
      - trace: {{kind: image.tag}}
    wrong:
      - docker images
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_a_lesson() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = write(folder.path(), "07-private").expect("a file");
        assert_eq!(crate::read::file(&path).expect("a lesson").scenario.chapter, 7);
        assert!(
            matches!(write(folder.path(), "07-private"), Err(Error::Write { .. })),
            "it is there already"
        );
        assert!(matches!(write(folder.path(), "../x"), Err(Error::Id(_))));
        assert!(matches!(write(folder.path(), "3-../x"), Err(Error::Id(_))));
    }
}
