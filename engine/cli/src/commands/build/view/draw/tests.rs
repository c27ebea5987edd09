use serde_json::json;

use super::*;

fn begin(list: &mut List, id: &str, stage: Option<&str>, place: [u32; 2], text: &str) {
    let begin = json!({ "number": 1, "of": 5, "stage": stage, "place": place, "line": 3, "text": text });
    list.hear(&json!({ "id": id, "begin": begin }));
}

fn plain(list: &List, columns: usize, rows: Option<usize>) -> Vec<String> {
    let lines = frame(list, &Style { columns, rows, colour: false });
    for line in &lines {
        assert!(line.text.width() < columns && line.width == line.text.width(), "{line:?}");
    }
    lines.into_iter().map(|line| line.text).collect()
}

#[test]
fn steps_of_stages_side_by_side_stand_in_the_file_s_order() {
    let mut list = List::new(false);
    begin(&mut list, "3", None, [1, 2], "FROM busybox");
    begin(&mut list, "1", Some("tools"), [1, 2], "FROM busybox AS tools");
    begin(&mut list, "10", None, [2, 2], "RUN make && \\\n    make install");
    begin(&mut list, "1.1", Some("tools"), [1, 2], "RUN touch /trigger");
    list.hear(&json!({ "id": "1", "end": { "ms": 1234, "cached": false } }));
    list.hear(&json!({ "id": "1.1", "end": { "ms": 0, "cached": true } }));
    list.hear(&json!({ "id": "10", "output": "a\n\x1b[31mred\x1b[0m\n10%\r99%\r\n\n" }));
    let lines = plain(&list, 60, None);
    assert!(lines[0].starts_with("[+] Building 0.") && lines[0].ends_with("(1/5)"), "{lines:?}");
    assert_eq!(lines[1], " => [tools 1/2] FROM busybox AS tools                  1.2s");
    assert!(lines[2].starts_with(" => CACHED [tools 1/2] ONBUILD RUN touch /trigger "), "{lines:?}");
    assert!(lines[3].starts_with(" => [1/2] FROM busybox "), "{lines:?}");
    assert!(lines[4].starts_with(" => [2/2] RUN make && make install "), "{lines:?}");
    assert_eq!(lines[5..], [" => => # a", " => => # red", " => => # 99%"]);
}

#[test]
fn wide_characters_are_counted_as_two() {
    let mut list = List::new(false);
    begin(&mut list, "1", Some("构建"), [1, 1], "RUN echo 这是一个很长很长很长很长的句子");
    list.hear(&json!({ "id": "1", "output": "输出输出输出输出输出输出输出输出输出输出输出\n" }));
    let lines = plain(&list, 40, None);
    assert_eq!(lines[1].width(), 39);
    assert!(lines[1].contains('…') && lines[1].ends_with("s"), "{lines:?}");
    assert!(lines[2].ends_with('…') && lines[2].width() >= 38, "{lines:?}");
}

#[test]
fn a_low_terminal_shows_what_runs() {
    let mut list = List::new(true);
    for step in 1..=30 {
        begin(&mut list, &step.to_string(), None, [step, 30], &format!("ENV A{step}=1"));
        if step < 30 {
            list.hear(&json!({ "id": step.to_string(), "end": { "ms": 0 } }));
        }
    }
    list.hear(&json!({ "id": "30", "output": "1\n2\n3\n4\n5\n6\n7\n8\n" }));
    let lines = plain(&list, 80, Some(10));
    assert_eq!(lines.len(), 9);
    assert!(lines.iter().any(|line| line.contains("[30/30]")), "{lines:?}");
    let lines = plain(&list, 80, Some(4));
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().any(|line| line.contains("[30/30]")), "{lines:?}");
    list.end();
    assert_eq!(plain(&list, 80, None).len(), 32);
}

#[test]
fn what_failed_is_shown_with_its_output_and_its_lines() {
    let mut list = List::new(false);
    begin(&mut list, "2", None, [2, 3], "RUN make");
    list.hear(&json!({ "id": "2", "output": "one\ntwo\nthree\n4\n5\n6\n7\n8\n" }));
    let text = json!([[2, "ENV A=1"], [3, "RUN make"], [4, ""]]);
    let excerpt = json!({ "file": "Dockerfile", "lines": [3, 3], "text": text });
    list.hear(&json!({ "id": "2", "failed": excerpt }));
    list.say(&json!({ "error": "no", "errorDetail": { "code": 2, "message": "no" } }));
    list.end();
    let style = Style { columns: 80, rows: None, colour: false };
    assert_eq!(
        after(&list, &style),
        "------\n > [2/3] RUN make:\none\ntwo\nthree\n4\n5\n6\n7\n8\n------\n\
         Dockerfile:3\n--------------------\n   2 |     ENV A=1\n   3 | >>> RUN make\n   4 |\n--------------------\n"
    );
    assert_eq!(list.failure.map(|failure| failure.status), Some(2));
}

#[test]
fn colours_add_nothing_to_the_width() {
    let mut list = List::new(false);
    begin(&mut list, "1", None, [1, 1], "FROM busybox");
    list.hear(&json!({ "id": "1", "end": { "ms": 0 } }));
    let lines = frame(&list, &Style { columns: 40, rows: None, colour: true });
    assert!(lines[1].text.starts_with("\x1b[34m => [1/1]") && lines[1].width == 39, "{lines:?}");
}
