//! Nodes and data into output.

use serde_json::Value;

use super::functions;
use super::parse::{Command, Node, Operand, OperandKind, Pipeline};
use super::print;
use crate::show::{methods, typed};

/// What the data stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode<'a> {
    /// JSON from the daemon: a missing key is "no entry for key".
    Map,
    /// The same with the API's types, completed by [`super::super::typed`]: what is nothing prints as
    /// nothing of its type.
    Struct,
    /// A row of a table, or another thing that Go has a type for.
    Typed(&'a str),
    /// The heads of a table's columns: functions pass their text on.
    Header,
}

/// Where and why a template can't be filled in.
#[derive(Debug)]
pub(super) struct Trouble {
    pub at: usize,
    pub node: String,
    pub message: String,
}

/// What Go prints for the key of a map that isn't there.
const NO_VALUE: &str = "<no value>";

/// How much a template may print; a loop over a loop over … ends somewhere.
const LIMIT: usize = 64 << 20;

pub(super) fn run(nodes: &[Node], data: &Value, mode: Mode<'_>, out: &mut String) -> Result<(), Trouble> {
    let mut run = Run { mode, variables: vec![("$".to_owned(), data.clone())], out };
    run.nodes(nodes, data).map(|_| ())
}

struct Run<'a> {
    mode: Mode<'a>,
    variables: Vec<(String, Value)>,
    out: &'a mut String,
}

/// How a list of nodes ended.
#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

impl Run<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, Trouble> {
        let scope = self.variables.len();
        let mut flow = Flow::On;
        for node in nodes {
            flow = self.node(node, dot)?;
            if flow != Flow::On {
                break;
            }
        }
        self.variables.truncate(scope);
        Ok(flow)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, Trouble> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
            Node::Show(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.declare.is_empty() {
                    match (&value, named(pipeline)) {
                        (value, Some(name)) if matches!(self.mode, Mode::Struct) => {
                            print::field(&name, value, self.out);
                        }
                        (Value::Null, _) => self.out.push_str("<no value>"),
                        (value, _) => print::value(value, self.out),
                    }
                } else {
                    self.declare(pipeline, value);
                }
            }
            Node::If { test, then, other } | Node::With { test, then, other } => {
                let scope = self.variables.len();
                let value = self.pipeline(test, dot)?;
                let holds = functions::truth(&value);
                let inner =
                    if matches!(node, Node::With { .. }) && holds { value.clone() } else { dot.clone() };
                self.declare(test, value);
                let flow = self.nodes(if holds { then } else { other }, &inner)?;
                self.variables.truncate(scope);
                return Ok(flow);
            }
            Node::Range { over, body, other } => {
                let value = self.pipeline(over, dot)?;
                return self.range(over, body, other, value, dot);
            }
        }
        if self.out.len() > LIMIT {
            return Err(Trouble {
                at: 0,
                node: String::new(),
                message: "template prints too much".to_owned(),
            });
        }
        Ok(Flow::On)
    }

    fn declare(&mut self, pipeline: &Pipeline, value: Value) {
        let Some(name) = pipeline.declare.last() else { return };
        if pipeline.new {
            self.variables.push((name.clone(), value));
        } else if let Some((_, old)) = self.variables.iter_mut().rev().find(|(old, _)| old == name) {
            *old = value;
        }
    }

    fn range(
        &mut self,
        over: &Pipeline,
        body: &[Node],
        other: &[Node],
        value: Value,
        dot: &Value,
    ) -> Result<Flow, Trouble> {
        let items: Vec<(Value, Value)> = match value {
            Value::Array(items) => {
                items.into_iter().enumerate().map(|(at, item)| (at.into(), item)).collect()
            }
            Value::Object(map) => {
                let mut items: Vec<_> = map.into_iter().map(|(key, item)| (Value::from(key), item)).collect();
                items.sort_by(|(left, _), (right, _)| left.as_str().cmp(&right.as_str()));
                items
            }
            Value::Number(count) if count.is_i64() => {
                (0..count.as_i64().unwrap_or(0).min(1_000_000)).map(|at| (at.into(), at.into())).collect()
            }
            Value::Null => Vec::new(),
            other => {
                let operand = over.commands.last().and_then(|command| command.args.first());
                return Err(trouble(operand, format!("range can't iterate over {}", print::text(&other))));
            }
        };
        if items.is_empty() {
            return self.nodes(other, dot);
        }
        for (key, item) in items {
            let scope = self.variables.len();
            match over.declare.as_slice() {
                [value_name] => self.variables.push((value_name.clone(), item.clone())),
                [key_name, value_name] => {
                    self.variables.push((key_name.clone(), key));
                    self.variables.push((value_name.clone(), item.clone()));
                }
                _ => {}
            }
            let flow = self.nodes(body, &item)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Trouble> {
        let mut last = None;
        for command in &pipeline.commands {
            last = Some(self.command(command, dot, last)?);
        }
        Ok(last.unwrap_or_default())
    }

    fn command(&mut self, command: &Command, dot: &Value, last: Option<Value>) -> Result<Value, Trouble> {
        let Some((head, rest)) = command.args.split_first() else { return Ok(Value::Null) };
        if let OperandKind::Function(name) = &head.kind {
            // `and` and `or` stop as soon as they know.
            if last.is_none() && (name == "and" || name == "or") {
                return self.short_circuit(name == "and", rest, dot);
            }
            let mut args = Vec::with_capacity(rest.len() + 1);
            for operand in rest {
                args.push(self.operand(operand, dot)?);
            }
            args.extend(last);
            if let (Mode::Struct, "index", [Value::Object(map), Value::String(key)]) =
                (self.mode, name.as_str(), args.as_slice())
                && !map.contains_key(key)
            {
                // The maps that people look into have texts: labels, options.
                return Ok("".into());
            }
            let header = matches!(self.mode, Mode::Header);
            return functions::call(name, args, header).map_err(|message| Trouble {
                at: head.at,
                node: command.args.iter().map(|arg| arg.text.as_str()).collect::<Vec<_>>().join(" "),
                message,
            });
        }
        let mut args = Vec::new();
        for operand in rest {
            args.push(self.operand(operand, dot)?);
        }
        args.extend(last);
        if !args.is_empty() {
            if let OperandKind::Field(names) = &head.kind
                && let Some(value) = self.method(names, dot, &args)
            {
                return Ok(value);
            }
            return Err(trouble(Some(head), format!("can't give argument to non-function {}", head.text)));
        }
        self.operand(head, dot)
    }

    /// `.Label "name"`, the one method with an argument that rows have.
    fn method(&self, names: &[String], dot: &Value, args: &[Value]) -> Option<Value> {
        let [name] = names else { return None };
        let key = args.first()?.as_str()?;
        if name != "Label" {
            return None;
        }
        if matches!(self.mode, Mode::Header) {
            let last = key.rsplit('.').next().unwrap_or(key);
            return Some(last.replace(['-', '_'], " ").into());
        }
        let labels = dot.get(super::super::table::LABELS)?;
        Some(labels.get(key).cloned().unwrap_or_else(|| "".into()))
    }

    fn short_circuit(&mut self, and: bool, operands: &[Operand], dot: &Value) -> Result<Value, Trouble> {
        let mut value = Value::Null;
        for operand in operands {
            value = self.operand(operand, dot)?;
            if functions::truth(&value) != and {
                break;
            }
        }
        Ok(value)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, Trouble> {
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Value::Null),
            OperandKind::Value(value) => Ok(value.clone()),
            OperandKind::Field(names) => self.fields(operand, dot, names),
            OperandKind::Variable(name, names) => {
                let value = self.variables.iter().rev().find(|(known, _)| known == name);
                let value = value.map(|(_, value)| value.clone()).unwrap_or_default();
                self.fields(operand, &value, names)
            }
            OperandKind::Function(name) => {
                let header = matches!(self.mode, Mode::Header);
                functions::call(name, Vec::new(), header).map_err(|message| trouble(Some(operand), message))
            }
            OperandKind::Inner(pipeline, names) => {
                let value = self.pipeline(pipeline, dot)?;
                self.fields(operand, &value, names)
            }
        }
    }

    fn fields(&self, operand: &Operand, value: &Value, names: &[String]) -> Result<Value, Trouble> {
        let (mut value, mut in_map) = (value, false);
        for (place, name) in names.iter().enumerate() {
            // What a method says is a flag or a name: nothing is asked of that.
            let field = place.checked_sub(1).and_then(|before| names.get(before));
            if let (Mode::Struct, Some(field)) = (self.mode, field)
                && place + 1 == names.len()
                && let Some(said) = methods::call(field, value, name)
            {
                return Ok(said);
            }
            let looks_into_map = std::mem::replace(&mut in_map, typed::is_map(name));
            let of_struct = matches!(self.mode, Mode::Struct) && !looks_into_map;
            value = match value {
                Value::Object(_) if of_struct && typed::is_otherwise(name) => {
                    return Err(trouble(Some(operand), self.missing(name)));
                }
                Value::Object(map) => match map.get(name) {
                    Some(value) => value,
                    None if matches!(self.mode, Mode::Struct) && looks_into_map => {
                        return Ok(NO_VALUE.into());
                    }
                    None => return Err(trouble(Some(operand), self.missing(name))),
                },
                Value::Null => {
                    return Err(trouble(
                        Some(operand),
                        format!("nil data; no entry for key {}", crate::words::check::quote(name)),
                    ));
                }
                other => {
                    // What is in a map can be anything.
                    let kind =
                        if matches!(self.mode, Mode::Map) { "interface {}" } else { print::type_name(other) };
                    let message = format!("can't evaluate field {name} in type {kind}");
                    return Err(trouble(Some(operand), message));
                }
            };
        }
        Ok(value.clone())
    }

    fn missing(&self, name: &str) -> String {
        match self.mode {
            Mode::Typed(type_name) => format!("can't evaluate field {name} in type {type_name}"),
            Mode::Map | Mode::Struct | Mode::Header => {
                format!("map has no entry for key {}", crate::words::check::quote(name))
            }
        }
    }
}

/// The name of the field that a pipeline shows, if it shows one as it is.
fn named(pipeline: &Pipeline) -> Option<String> {
    let [Command { args }] = pipeline.commands.as_slice() else { return None };
    match args.as_slice() {
        [Operand { kind: OperandKind::Field(names), .. }]
        | [Operand { kind: OperandKind::Variable(_, names), .. }]
        | [Operand { kind: OperandKind::Inner(_, names), .. }] => names.last().cloned(),
        _ => None,
    }
}

fn trouble(operand: Option<&Operand>, message: String) -> Trouble {
    Trouble {
        at: operand.map_or(0, |operand| operand.at),
        node: operand.map(|operand| operand.text.clone()).unwrap_or_default(),
        message,
    }
}
