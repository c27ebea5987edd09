//! Instructions of a Dockerfile that `commit --change` and `import --change` take, in Docker's words
//! where one can't be taken. What they do is the build's ([`glassdock_build::change`]).

use glassdock_build::change::{self, ChangeError};
use glassdock_build::language::Problem;
use glassdock_image::config::Process;

use crate::error::Error;

/// Applies instructions, one a text or several in lines, to a config.
///
/// # Errors
///
/// Invalid, in Docker's words: an instruction that isn't one, or that does more than change the config.
pub(super) fn apply<'a>(changes: impl Iterator<Item = &'a str>, config: &mut Process) -> Result<(), Error> {
    let applied = change::parse(changes).and_then(|read| change::changes(&read, config));
    applied.map_err(|error| {
        Error::invalid(match error {
            ChangeError::Syntax(error) => match error.problem {
                Problem::Unknown { written, .. } => {
                    format!("{} is not a valid change command", written.to_lowercase())
                }
                // A change has no file, and so no place in one.
                problem => problem.to_string(),
            },
            refused => refused.to_string(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_the_build_s_and_refusals_docker_s() {
        let applied = |texts: &[&str]| {
            let mut config = Process { cmd: Some(vec!["sh".into()]), ..Process::default() };
            apply(texts.iter().copied(), &mut config).map(|()| config)
        };
        let config =
            applied(&["ENV A=1 D='$A' E=\\$A\n\n# no\nENV A=$A${A}", "CMD echo $HOME", ""]).expect("applied");
        assert_eq!(config.env, ["A=11", "D=$A", "E=$A"]);
        assert_eq!(config.cmd.expect("a command"), ["/bin/sh", "-c", "echo $HOME"]);
        for (text, message) in [
            ("RUN x", "run is not a valid change command"),
            ("COPY . .", "copy is not a valid change command"),
            ("ENVV A=1", "envv is not a valid change command"),
            ("EXPOSE x", "invalid containerPort: x"),
            ("ENV A", "ENV must have two arguments"),
            ("ENV =x", "ENV names can not be blank"),
            ("USER", "USER requires exactly one argument"),
        ] {
            assert_eq!(applied(&[text]).expect_err(text).message(), message);
        }
    }
}
