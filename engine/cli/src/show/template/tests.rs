//! Each line was asked of Go's own `text/template`, by way of the docker client.

use serde_json::{Value, json};

use super::{Mode, Template};

fn check(text: &str, data: &Value, expected: &str) {
    let shown = Template::parse("", text).and_then(|template| template.execute(data, Mode::Map));
    assert_eq!(shown.unwrap_or_else(|error| error), expected, "{text}");
}

#[test]
fn values_print_as_go_prints_them() {
    let data = json!({"Name": "/otter", "State": {"Running": true, "Pid": 7}, "Labels": {"b": "2", "a": "1"}, "List": ["x", "y"], "Nil": null});
    check("{{.Name}}", &data, "/otter");
    check("{{.State.Pid}}", &data, "7");
    check("{{.State}}", &data, "{true 7}");
    check("{{.Labels}}", &data, "map[a:1 b:2]");
    check("{{.List}}", &data, "[x y]");
    check("{{json .State}}", &data, r#"{"Running":true,"Pid":7}"#);
    check("{{.Nil}}", &data, "<no value>");
    check("{{println .Nil}}", &data, "<nil>\n");
}

#[test]
fn control_and_pipelines() {
    let data = json!({"List": ["x", "y"], "Map": {"b": 2, "a": 1}, "Yes": true, "No": ""});
    check("{{range .List}}<{{.}}>{{end}}", &data, "<x><y>");
    check("{{range $k, $v := .Map}}{{$k}}={{$v}};{{end}}", &data, "a=1;b=2;");
    check("{{range $i, $v := .List}}{{if $i}},{{end}}{{$v}}{{end}}", &data, "x,y");
    check(
        "{{range .No2}}{{end}}",
        &data,
        "template: :1:8: executing \"\" at <.No2>: map has no entry for key \"No2\"",
    );
    check("{{if .No}}a{{else if .Yes}}b{{else}}c{{end}}", &data, "b");
    check("{{with .No}}a{{else}}b{{end}}", &data, "b");
    check("a {{- /* note */ -}} b", &data, "ab");
    check("{{ .List | len | printf \"%03d\" }}", &data, "002");
    check("{{join .List \"-\" | upper}}", &data, "X-Y");
    check("{{index .List 1}} {{index .Map \"a\"}}", &data, "y 1");
    check("{{$x := 3}}{{range .List}}{{$x}}{{$x = 4}}{{end}}{{$x}}", &data, "344");
    check("{{range .List}}{{if eq . \"y\"}}{{break}}{{end}}{{.}}{{end}}", &data, "x");
    check("{{and .Yes .No}}|{{or .No \"d\"}}|{{not .No}}", &data, "|d|true");
    check("{{(index .List 0) | printf \"%q\"}}", &data, "\"x\"");
    check("{{pad \"a\" 1 2}}|{{truncate \"abc\" 2}}|{{title \"a b\"}}", &data, " a  |ab|A B");
    check("{{eq 1 1.0}} {{lt 1 2}} {{ge \"b\" \"a\"}}", &data, "true true true");
}

#[test]
fn mistakes_are_told_in_go_s_words() {
    let data = json!({"State": {}});
    check("{{", &data, "template: :1: unclosed action");
    check("{{.Foo}}", &data, "template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\"");
    check(
        "{{.State.Foo}}",
        &data,
        "template: :1:8: executing \"\" at <.State.Foo>: map has no entry for key \"Foo\"",
    );
    check("{{nope}}", &data, "template: :1: function \"nope\" not defined");
    check("{{if}}{{end}}", &data, "template: :1: missing value for if");
    check("{{if .State}}", &data, "template: :1: unexpected EOF");
    check("{{$x}}", &data, "template: :1: undefined variable \"$x\"");
    check("{{\"a}}", &data, "template: :1: unterminated quoted string");
    check(&"{{if 1}}".repeat(1000), &data, "template: :1: template nests too deeply");
}
