//! `.dockerignore` while the context comes: what it leaves out needs not be stored.
//!
//! The rules are a file of the archive themselves, in one of two places, of which the Dockerfile's own goes first:
//! `Dockerfile.dockerignore`, `.dockerignore`. Clients apply them before they send, so an archive that has what they leave out
//! was made by other means, in any order.

use std::io::Read;

use glassdock_build::ignore::{self, Ignore};
use glassdock_image::layer::{self, spool::Arrival};

use crate::error::Error;

/// Where the rules may lie, the place that counts more first.
pub(super) fn names(dockerfile: &str) -> [String; 2] {
    [format!("{dockerfile}.dockerignore"), ".dockerignore".to_owned()]
}

/// The rules as far as they came.
#[derive(Debug)]
pub(super) struct Coming {
    /// Paths that are kept whatever the rules say: the build itself reads them.
    needed: [String; 3],
    /// The place of the rules that are known, and what they say.
    known: Option<(usize, Ignore)>,
    /// The first paths that were left out, and how many there were.
    left_out: Vec<String>,
    count: usize,
    /// Whether the rules are others than those that something was left out by.
    changed: bool,
}

/// So many paths that were left out are remembered.
const MOST_REMEMBERED: usize = 10_000;

impl Coming {
    pub(super) fn of(dockerfile: &str) -> Self {
        let [own, shared] = names(dockerfile).map(|name| plain(&name));
        Self {
            needed: [own, shared, plain(dockerfile)],
            known: None,
            left_out: Vec::new(),
            count: 0,
            changed: false,
        }
    }

    /// Whether an entry is to be stored.
    pub(super) fn keeps(&mut self, path: &str) -> bool {
        let Some((_, rules)) = &self.known else { return true };
        // A folder that is left out may have things in it that are not.
        if self.needed.iter().any(|needed| needed == path) || !rules.prunes(path) {
            return true;
        }
        self.count += 1;
        if self.count <= MOST_REMEMBERED {
            self.left_out.push(path.to_owned());
        }
        false
    }

    /// An entry was stored: it may be the rules.
    pub(super) fn came(&mut self, path: &str, arrival: &mut Arrival<impl Read>) -> Result<(), layer::Error> {
        let place = self.needed[..2].iter().position(|name| name == path);
        let Some(place) = place.filter(|place| self.known.as_ref().is_none_or(|(known, _)| known >= place))
        else {
            return Ok(());
        };
        // What can't be read is told when all is here.
        if let Some(bytes) = arrival.read(path, ignore::LARGEST)?
            && let Ok(rules) = Ignore::read(&bytes)
        {
            self.known = Some((place, rules));
            self.changed = self.count > 0;
        }
        Ok(())
    }

    /// Says so if something was left out that the rules which count take in.
    pub(super) fn held_against(&self, rules: &Ignore) -> Result<(), Error> {
        if !self.changed {
            return Ok(());
        }
        let lost = self.left_out.iter().find(|path| !rules.ignores(path));
        match lost.or(self.left_out.first().filter(|_| self.count > MOST_REMEMBERED)) {
            Some(path) => Err(Error::invalid(format!(
                "the context's archive has {path} before the rules that take it in: put {} at its beginning",
                self.needed[0]
            ))),
            None => Ok(()),
        }
    }
}

/// A path without `.` and empty parts, as entries are called.
fn plain(path: &str) -> String {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use glassdock_image::layer::Limits;

    use super::*;

    /// Which entries of an archive are stored, and what is said of them in the end.
    fn stored(dockerfile: &str, files: &[(&str, &str)], last: &str) -> (Vec<String>, Result<(), Error>) {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path, content.as_bytes()).expect("written");
        }
        let tar = tar.into_inner().expect("an archive");
        let folder = tempfile::tempdir().expect("a folder");
        let mut arrival =
            Arrival::new(&folder.path().join("spool"), tar.as_slice(), Limits::default()).expect("made");
        let (mut rules, mut kept) = (Coming::of(dockerfile), Vec::new());
        while let Some(path) = arrival.next_entry().expect("an entry") {
            if rules.keeps(&path) {
                arrival.keep().expect("kept");
                rules.came(&path, &mut arrival).expect("read");
                kept.push(path);
            }
        }
        (kept, rules.held_against(&Ignore::read(last.as_bytes()).expect("rules")))
    }

    #[test]
    fn what_is_left_out_is_not_stored_once_the_rules_are_known() {
        let shared = ".dockerignore";
        let all =
            [("a.log", "1"), (shared, "*.log\nDockerfile"), ("b.log", "2"), ("c", "3"), ("Dockerfile", "")];
        let (kept, said) = stored("./Dockerfile", &all, "*.log\nDockerfile");
        assert_eq!(kept, ["a.log", shared, "c", "Dockerfile"]);
        assert!(said.is_ok());
        // The Dockerfile's own rules count more, whatever comes later.
        let own = "x/Dockerfile.dockerignore";
        let (kept, said) = stored("x/Dockerfile", &[(own, "c"), (shared, "b"), ("b", ""), ("c", "")], "c");
        assert_eq!(kept, [own, shared, "b"]);
        assert!(said.is_ok());
        // They came too late, and want what is gone.
        let late = [(shared, "b"), ("b", ""), (own, "c")];
        let (_, said) = stored("x/Dockerfile", &late, "c");
        assert!(said.is_err_and(|error| error.message().contains("has b before the rules")));
        let (_, said) = stored("x/Dockerfile", &late, "b");
        assert!(said.is_ok(), "both leave it out");
        // A folder that is left out may have something in it that is not.
        let (kept, _) = stored("Dockerfile", &[(shared, "d\n!d/in"), ("d/in", ""), ("d/out", "")], "");
        assert_eq!(kept, [shared, "d/in"]);
    }
}
