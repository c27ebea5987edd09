//! `images --tree`: each image with the platforms that it is for, as the engine's list has them.
//!
//! ```text
//!   IMAGE                 ID             DISK USAGE   CONTENT SIZE   EXTRA
//!   otter:latest          4c804df149ed       1.98MB          800kB    U
//!   ├─ linux/amd64        …
//!   └─ linux/arm64        …
//! ```
//!
//! An engine whose images are of one platform each has nothing below its names. Docker calls this an experiment.

use serde_json::Value;

use super::{items, number, text};
use crate::client::{filters, with_query};
use crate::context::Context;
use crate::failure::Failure;
use crate::show::table::short_id;
use crate::show::units;
use crate::term;
use crate::words::Args;

/// Between two columns.
const GAP: usize = 3;
/// A first column narrower than this makes later ones go.
const NARROWEST: usize = 12;
/// The columns behind the first: title, width, whether they end at the right.
const COLUMNS: [(&str, usize, bool); 4] =
    [("ID", 12, false), ("DISK USAGE", 10, true), ("CONTENT SIZE", 12, true), ("EXTRA", 5, false)];

const TITLE: &str = "39;1";
const WARNING: &str = "93";
const NAME: &str = "34;1";
const PLAIN: &str = "39";
const UNTAGGED: &str = "39;2";

/// A line: an image, or one of its platforms.
struct Line {
    id: String,
    disk: String,
    content: String,
    used: bool,
    /// Whether its content is here.
    here: bool,
}

pub(crate) async fn tree(cx: &mut Context, args: &Args, given: &[String]) -> Result<(), Failure> {
    let foreign = [
        ("quiet", args.is("quiet")),
        ("no-trunc", args.is("no-trunc")),
        // Docker's client calls `--digests` so here.
        ("show-digest", args.is("digests")),
        ("format", !args.text("format").is_empty()),
    ];
    if let Some((name, _)) = foreign.into_iter().find(|(_, given)| *given) {
        return Err(Failure::say(format!("--{name} is not yet supported with --tree")));
    }
    let path = with_query(
        "/images/json",
        &[
            ("all", if args.is("all") { "1" } else { "" }),
            ("filters", &filters(given.iter().map(String::as_str))),
            ("manifests", "1"),
        ],
    );
    let answer = cx.client.get_json(&path).await?;
    let mut images: Vec<&Value> = answer.as_array().into_iter().flatten().collect();
    images.sort_by_key(|image| std::cmp::Reverse(number(image, "Created")));
    let view = View::of(&images);
    for line in view.lines(&images) {
        cx.out.line(line);
    }
    Ok(())
}

/// How wide it is, and whether in colours.
struct View {
    /// Of the whole; of a first name, `None` is no limit.
    width: usize,
    colours: bool,
    /// The first column.
    first: usize,
    /// So many of the others have room.
    columns: usize,
}

impl View {
    fn of(images: &[&Value]) -> Self {
        let terminal = term::stdout_is_terminal();
        let width = term::width_of_stdout().filter(|_| terminal).map_or(80, usize::from).max(20);
        let (mut first, mut columns) = (width, 0);
        for (_, wide, _) in COLUMNS {
            match first.checked_sub(wide + GAP) {
                Some(rest) if rest >= NARROWEST => (first, columns) = (rest, columns + 1),
                _ => break,
            }
        }
        let names = images.iter().flat_map(|image| items(image, "RepoTags").filter_map(Value::as_str));
        // As Docker counts: bytes, those of the branch too.
        let names = names.map(str::len);
        let platforms = images.iter().flat_map(|image| parts(image)).map(|part| platform(part).len() + 7);
        let widest = names.chain(platforms).fold("IMAGE".len(), usize::max);
        Self { width, colours: terminal, first: first.min(widest), columns }
    }

    fn lines(&self, images: &[&Value]) -> Vec<String> {
        let warning =
            "WARNING: This is an experimental feature. The output may change and shouldn't be depended on.";
        let titles = [("IMAGE", self.first, false)].into_iter().chain(COLUMNS).take(self.columns + 1);
        // Titles are in colours wherever they go.
        let titles = titles.map(|(title, wide, _)| fit(title, wide, false, |text| painted(TITLE, text)));
        let titles = titles.collect::<Vec<_>>().join(&" ".repeat(GAP));
        let mut lines = vec![self.paint(WARNING, warning), self.legend(), String::new(), titles];
        let roomy = images.iter().any(|image| parts(image).next().is_some());
        for image in images {
            let mut names: Vec<&str> = items(image, "RepoTags").filter_map(Value::as_str).collect();
            names.retain(|name| *name != "<none>:<none>");
            names.sort_by_key(|name| std::cmp::Reverse(name.len()));
            let last = names.pop();
            // Those before the last have a line of their own.
            lines.extend(names.into_iter().map(|name| {
                let cut = if self.colours { cut(name, self.width) } else { name.to_owned() };
                self.paint(NAME, &cut)
            }));
            lines.push(match last {
                Some(name) => self.line(NAME, name, &whole(image)),
                None => self.line(UNTAGGED, "<untagged>", &whole(image)),
            });
            let parts: Vec<&Value> = parts(image).collect();
            for (place, part) in parts.iter().enumerate() {
                let branch = if place + 1 == parts.len() { "└─" } else { "├─" };
                let line = of_part(part);
                let colour = if line.here { PLAIN } else { "39;2" };
                lines.push(self.line(colour, &format!("{branch} {}", platform(part)), &line));
            }
            lines.extend(roomy.then(String::new));
        }
        lines
    }

    fn line(&self, colour: &str, name: &str, line: &Line) -> String {
        let rest = if line.here { PLAIN } else { "39;2" };
        let used = match (line.used, self.colours) {
            (false, _) => "",
            (true, true) => "\x1b[38;5;0m\x1b[48;5;14m U \x1b[0m",
            (true, false) => "U",
        };
        let mut text = fit(name, self.first, false, |text| self.paint(colour, text));
        let cells = [line.id.as_str(), &line.disk, &line.content];
        for (cell, (_, wide, right)) in cells.into_iter().zip(COLUMNS).take(self.columns) {
            text += &" ".repeat(GAP);
            text += &fit(cell, wide, right, |text| self.paint(rest, text));
        }
        if self.columns == COLUMNS.len() {
            let wide = match (line.used, self.colours) {
                (false, _) => 0,
                (true, true) => 3,
                (true, false) => 1,
            };
            text += &format!("{}{used}{}", " ".repeat(GAP), " ".repeat(5 - wide));
        }
        text
    }

    /// What the letters mean, at the right.
    fn legend(&self) -> String {
        let (plain, fancy) = (
            "Info ->  U In Use ",
            "\x1b[1m\x1b[106m\x1b[30mi\x1b[0m\x1b[0m \x1b[96mInfo → \x1b[0m\x1b[0m \x1b[38;5;0m\x1b[48;5;14m U \x1b[0m In Use ",
        );
        let (text, wide) = if self.colours { (fancy, 21) } else { (plain, plain.len()) };
        format!("{}{text}", " ".repeat(self.width.saturating_sub(wide)))
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours { painted(colour, text) } else { text.to_owned() }
    }
}

/// In colours, each code by itself.
fn painted(codes: &str, text: &str) -> String {
    let codes: String = codes.split(';').map(|code| format!("\x1b[{code}m")).collect();
    format!("{codes}{text}\x1b[0m")
}

/// A text in a cell, cut if it is too long; only the text is painted.
fn fit(text: &str, wide: usize, right: bool, paint: impl Fn(&str) -> String) -> String {
    let count = text.chars().count();
    if count > wide {
        return paint(&cut(text, wide));
    }
    let space = " ".repeat(wide - count);
    if right { space + &paint(text) } else { paint(text) + &space }
}

fn cut(text: &str, wide: usize) -> String {
    if text.chars().count() <= wide {
        return text.to_owned();
    }
    text.chars().take(wide.saturating_sub(1)).chain(['…']).collect()
}

/// The platforms of an image that has several.
fn parts(image: &Value) -> impl Iterator<Item = &Value> {
    items(image, "Manifests").filter(|part| text(part, "Kind") == "image")
}

fn platform(part: &Value) -> String {
    let platform = part.pointer("/ImageData/Platform").unwrap_or(&Value::Null);
    let words = ["os", "architecture", "variant"].map(|name| text(platform, name));
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("/")
}

fn whole(image: &Value) -> Line {
    let content: i64 = parts(image).map(|part| size(part, "Content")).sum();
    Line {
        id: short_id(text(image, "Id")),
        disk: units::short_size(number(image, "Size") as f64),
        content: units::short_size(content as f64),
        used: number(image, "Containers") > 0 || parts(image).any(is_used),
        here: true,
    }
}

fn of_part(part: &Value) -> Line {
    Line {
        id: short_id(text(part, "ID")),
        disk: units::short_size(size(part, "Total") as f64),
        content: units::short_size(size(part, "Content") as f64),
        used: is_used(part),
        here: part.get("Available").and_then(Value::as_bool).unwrap_or(false),
    }
}

fn is_used(part: &Value) -> bool {
    part.pointer("/ImageData/Containers").and_then(Value::as_array).is_some_and(|users| !users.is_empty())
}

fn size(part: &Value, what: &str) -> i64 {
    part.pointer(&format!("/Size/{what}")).and_then(Value::as_i64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn platforms_are_below_their_image() {
        let image = json!({
            "Id": "sha256:0123456789abcdef", "Size": 2000, "Containers": -1, "RepoTags": ["otter:latest", "long/otter:1.0"],
            "Manifests": [
                { "Kind": "image", "ID": "sha256:aa", "Available": true, "Size": { "Total": 2000, "Content": 800 },
                  "ImageData": { "Platform": { "os": "linux", "architecture": "amd64" }, "Containers": ["x"] } },
                { "Kind": "attestation", "ID": "sha256:bb" },
                { "Kind": "image", "ID": "sha256:cc", "Available": false, "Size": {},
                  "ImageData": { "Platform": { "os": "linux", "architecture": "arm", "variant": "v7" } } },
            ],
        });
        let view = View { width: 80, colours: false, first: 20, columns: COLUMNS.len() };
        let lines = view.lines(&[&image]);
        assert_eq!(
            lines.get(4..).unwrap_or_default(),
            [
                "long/otter:1.0",
                "otter:latest           0123456789ab          2kB           800B   U    ",
                "├─ linux/amd64         aa                    2kB           800B   U    ",
                "└─ linux/arm/v7        cc                     0B             0B        ",
                "",
            ]
        );
    }

    #[test]
    fn what_has_no_room_goes() {
        let image = json!({ "Id": "sha256:0123456789abcdef", "Size": 1, "Containers": 0, "RepoTags": null });
        let view = View { width: 30, colours: false, first: 12, columns: 1 };
        let lines = view.lines(&[&image]);
        assert_eq!(lines.last().map(String::as_str), Some("<untagged>     0123456789ab"));
    }
}
