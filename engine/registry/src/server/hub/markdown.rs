//! Markdown as HTML, of texts that nobody has to trust.
//!
//! The parser's events are changed before they become HTML, so that only elements of
//! Markdown itself can come out: HTML in the text is shown as text, pictures become their
//! descriptions (a page loads nothing from elsewhere), and a link leads to the web or to
//! this server, or is none.

use maud::PreEscaped;
use pulldown_cmark::{CowStr, Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd, html};

/// More than so many bytes of Markdown are not shown.
const LIMIT: usize = 256 * 1024;

/// The text as HTML that can stand in a page.
pub(super) fn render(text: &str) -> PreEscaped<String> {
    let mut end = text.len().min(LIMIT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let parser = Parser::new_ext(&text[..end], Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
    let mut out = String::new();
    html::push_html(&mut out, parser.map(tame));
    PreEscaped(out)
}

fn tame(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        // A picture's description stays, as emphasised text.
        Event::Start(Tag::Image { .. }) => Event::Start(Tag::Emphasis),
        Event::End(TagEnd::Image) => Event::End(TagEnd::Emphasis),
        Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
        Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
        Event::Start(Tag::Link { dest_url, link_type, .. }) => Event::Start(Tag::Link {
            dest_url: destination(dest_url, link_type),
            link_type: LinkType::Inline,
            title: "".into(),
            id: "".into(),
        }),
        // The page has a heading of its own: those of the text are below it, without attributes.
        Event::Start(Tag::Heading { level, .. }) => {
            Event::Start(Tag::Heading { level: lower(level), id: None, classes: vec![], attrs: vec![] })
        }
        Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(lower(level))),
        other => other,
    }
}

fn lower(level: HeadingLevel) -> HeadingLevel {
    match level {
        HeadingLevel::H1 => HeadingLevel::H2,
        HeadingLevel::H2 => HeadingLevel::H3,
        _ => HeadingLevel::H4,
    }
}

fn destination(url: CowStr<'_>, kind: LinkType) -> CowStr<'_> {
    if kind == LinkType::Email {
        return format!("mailto:{url}").into();
    }
    let lower = url.to_ascii_lowercase();
    let web = ["https://", "http://", "#"].iter().any(|start| lower.starts_with(start));
    // `//host` is another server's, and `/\host` is read as that by browsers.
    let here = url.starts_with('/') && !url.starts_with("//") && !url.contains('\\');
    if web || here { url } else { "#".into() }
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn what_markdown_has_becomes_html() {
        let html =
            render("# a\n\n`b` **c** [d](https://e.test)\n\n| x |\n|---|\n| y |\n\n```sh\n1 < 2\n```\n").0;
        for part in ["<h2>a</h2>", "<code>b</code>", "<strong>c</strong>", "<td>y</td>", "1 &lt; 2"] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert!(html.contains("<a href=\"https://e.test\">d</a>"), "{html}");
    }

    #[test]
    fn nothing_that_runs_or_loads_comes_out() {
        let hostile = [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "<div onclick=alert(1)>\n\nx\n\n</div>",
            "![x](https://evil.test/pixel.png \"t\")",
            "[x](javascript:alert(1))",
            "[x](JaVaScript:alert(1))",
            "[x](data:text/html,<script>)",
            "[x](//evil.test/)",
            "[x](/\\evil.test/)",
            "<javascript:alert(1)>",
            "[x]: javascript:alert(1)\n\n[x]",
            "# x {#id onclick=alert(1)}",
            "```\"><script>\nx\n```",
            "<https://a.test/\"onmouseover=alert(1)>",
        ];
        for text in hostile {
            let html = render(text).0;
            for tag in html.split('<').skip(1) {
                let tag = tag.split('>').next().unwrap_or_default();
                let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap_or_default();
                let known = ["p", "a", "em", "code", "pre", "h2"];
                assert!(known.contains(&name.trim_end_matches('/')), "{text} made {html}");
                let attribute = tag.split_once(' ').map_or("", |(_, rest)| rest);
                let plain = attribute.is_empty()
                    || attribute.starts_with("class=\"language-")
                    || attribute == "href=\"#\""
                    || attribute.starts_with("href=\"https://a.test/");
                assert!(plain && attribute.matches('"').count() <= 2, "{text} made {html}");
            }
        }
    }

    #[test]
    fn a_very_long_text_is_cut_between_characters() {
        let html = render(&"字".repeat(200_000)).0;
        assert!(html.len() < 300_000);
    }
}
