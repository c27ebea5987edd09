//! `build` on a terminal: a real one, of so many columns, whose bytes are looked at.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::{Engine, Result, glassdock, registry, skipped};

const STAGES: &str = "\
FROM busybox AS tools
RUN echo 一二三四五六七八九十一二三四五六七八九十; echo red >&2; sleep 1
FROM busybox
COPY --from=tools /etc/passwd /passwd
RUN echo never-shown && sleep 1
";

/// Runs the client on a terminal; all that it wrote there, and how it ended.
fn on_terminal(engine: &Engine, columns: u16, words: &[&str]) -> Result<(String, ExitStatus)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
    let name = ptsname(&master, Vec::new())?;
    let slave: OwnedFd = File::options().read(true).write(true).open(name.to_str()?)?.into();
    let mut command = glassdock();
    command.args(["--host", &format!("unix://{}", engine.socket.display())]).args(words);
    for name in ["NO_COLOR", "DOCKER_BUILDKIT", "BUILDKIT_PROGRESS"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm").stdout(slave.try_clone()?).stderr(Stdio::from(slave));
    let mut child = command.spawn()?;
    // It holds the terminal's other end, whose closing is the end of what is read.
    drop(command);
    let mut bytes = Vec::new();
    // A terminal without a program ends with EIO.
    let _ = File::from(master).read_to_end(&mut bytes);
    Ok((String::from_utf8(bytes)?, child.wait()?))
}

#[test]
fn a_terminal_shows_the_steps_in_place() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let (_registry, address) = registry(folder.path())?;
    let engine = Engine::start(folder.path(), "t", &address)?;
    let context = folder.path().join("context");
    fs::create_dir(&context)?;
    fs::write(context.join("Dockerfile"), STAGES)?;
    let path = context.display().to_string();
    let (shown, status) = on_terminal(&engine, 100, &["build", "-t", "shown", &path])?;
    assert!(status.success(), "{shown}");
    let (drawn, last) = last_frame(&shown);
    assert!(drawn > 3 && shown.contains("\x1b[34m"), "{shown}");
    assert!(last.contains("(5/5) FINISHED") && last.contains("[tools 2/2] RUN echo"), "{last}");
    assert!(last.ends_with("Successfully tagged shown:latest\r\n"), "{last}");
    // While it ran its output was below it; the end has only the steps.
    assert!(shown.contains(" => => # 一二三") && shown.contains(" => => # red"), "{shown}");
    assert!(!last.contains(" => => #"), "{last}");
    let (shown, _) = on_terminal(&engine, 40, &["build", &path])?;
    let (_, last) = last_frame(&shown);
    assert_eq!(last.matches(" => CACHED [").count(), 3, "{shown}");
    assert!(last.contains('…'), "{shown}");
    fails(&engine, &context)?;
    classic(&engine, &path)
}

fn fails(engine: &Engine, context: &Path) -> Result<()> {
    let ten = "seq 10; echo why >&2; exit 3";
    fs::write(context.join("Dockerfile"), format!("FROM busybox\nENV A=1\nRUN {ten}\nENV B=1\n"))?;
    let (shown, status) = on_terminal(engine, 80, &["build", &context.display().to_string()])?;
    assert_eq!(status.code(), Some(3), "{shown}");
    let (_, last) = last_frame(&shown);
    assert!(last.contains("(2/4) FAILED") && last.contains(" => ERROR [3/4] RUN seq 10"), "{last}");
    let lines: Vec<String> = (1..=10).map(|number| number.to_string()).collect();
    assert!(last.contains(&format!(":\r\n{}\r\n", lines.join("\r\n"))) && last.contains("why\r\n"), "{last}");
    assert!(last.contains(&format!("   2 |     ENV A=1\r\n   3 | >>> RUN {ten}\r\n")), "{last}");
    assert!(last.ends_with("returned a non-zero code: 3 (step 3/4, dockerfile line 3)\r\n"), "{last}");
    Ok(())
}

/// The classic words stay where somebody asks for them.
fn classic(engine: &Engine, path: &str) -> Result<()> {
    fs::write(Path::new(path).join("Dockerfile"), "FROM busybox\nENV A=1\n")?;
    let (shown, _) = on_terminal(engine, 80, &["build", "--progress=plain", path])?;
    assert!(shown.contains("Step 2/2 : ENV A=1\r\n") && !shown.contains("[+]"), "{shown}");
    let piped = engine.run(&["build", path])?;
    assert!(piped.contains("Step 2/2 : ENV A=1\n") && !piped.contains('\x1b'), "{piped}");
    let refused = engine.run(&["build", "--progress=tty", path]).err().ok_or("a pipe is no terminal")?;
    assert!(refused.to_string().contains("--progress=tty needs a terminal"), "{refused}");
    Ok(())
}

/// How many times the list was drawn, and what stays on the terminal.
fn last_frame(shown: &str) -> (usize, &str) {
    let drawn = shown.matches("[+] Building").count();
    (drawn, shown.rfind("[+] Building").and_then(|at| shown.get(at..)).unwrap_or_default())
}
