//! Tokens into nodes.

use serde_json::Value;

use super::functions;
use super::lex::{Kind, Token, Wrong, lex};

/// A piece of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Show(Pipeline),
    If { test: Pipeline, then: Vec<Node>, other: Vec<Node> },
    With { test: Pipeline, then: Vec<Node>, other: Vec<Node> },
    Range { over: Pipeline, body: Vec<Node>, other: Vec<Node> },
    Break,
    Continue,
}

/// Commands one behind the other, the result perhaps kept in variables.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub declare: Vec<String>,
    /// Whether the variables are new (`:=`) or there already (`=`).
    pub new: bool,
    pub commands: Vec<Command>,
}

/// A value, or a function or method with its arguments.
#[derive(Debug)]
pub(super) struct Command {
    pub args: Vec<Operand>,
}

/// An operand, with where it stands and how it reads, for errors.
#[derive(Debug)]
pub(super) struct Operand {
    pub at: usize,
    pub text: String,
    pub kind: OperandKind,
}

#[derive(Debug)]
pub(super) enum OperandKind {
    Dot,
    Nil,
    Value(Value),
    /// `.A.B`
    Field(Vec<String>),
    /// `$x.A.B`
    Variable(String, Vec<String>),
    Function(String),
    /// `(pipeline).A.B`
    Inner(Pipeline, Vec<String>),
}

/// How deep actions and parentheses may nest.
const DEPTH: usize = 100;

pub(super) fn parse(text: &str) -> Result<Vec<Node>, Wrong> {
    let tokens = lex(text)?;
    let mut parser = Parser { tokens, next: 0, variables: vec!["$".to_owned()], depth: 0, loops: 0 };
    let (nodes, end) = parser.nodes()?;
    match end {
        End::Input => Ok(nodes),
        End::Else(_) => parser.wrong("unexpected {{else}}"),
        End::Word => parser.wrong("unexpected {{end}}"),
    }
}

/// What ended a list of nodes.
enum End {
    Input,
    Word,
    /// `else`, and `if` or `with` behind it.
    Else(Option<&'static str>),
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    variables: Vec<String>,
    depth: usize,
    loops: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.next).map(|token| &token.kind)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token
    }

    fn skip_space(&mut self) {
        while self.peek() == Some(&Kind::Space) {
            self.next += 1;
        }
    }

    fn wrong<T>(&self, message: impl Into<String>) -> Result<T, Wrong> {
        let line =
            self.tokens.get(self.next.min(self.tokens.len()).saturating_sub(1)).map_or(1, |token| token.line);
        Err(Wrong { line, message: message.into() })
    }

    fn deeper(&mut self) -> Result<(), Wrong> {
        self.depth += 1;
        if self.depth > DEPTH { self.wrong("template nests too deeply") } else { Ok(()) }
    }

    fn nodes(&mut self) -> Result<(Vec<Node>, End), Wrong> {
        self.deeper()?;
        let mut nodes = Vec::new();
        let end = loop {
            match self.take().map(|token| token.kind) {
                None => break End::Input,
                Some(Kind::Text(text)) => nodes.push(Node::Text(text)),
                Some(Kind::Open) => match self.action()? {
                    Action::Node(node) => nodes.push(node),
                    Action::End(end) => break end,
                },
                Some(_) => return self.wrong("unexpected token"),
            }
        };
        self.depth -= 1;
        Ok((nodes, end))
    }

    fn action(&mut self) -> Result<Action, Wrong> {
        self.skip_space();
        let word = match self.peek() {
            Some(Kind::Word(word)) => word.clone(),
            _ => String::new(),
        };
        match word.as_str() {
            "if" | "with" | "range" => {
                self.next += 1;
                self.control(&word).map(Action::Node)
            }
            "else" => {
                self.next += 1;
                self.skip_space();
                let also = match self.peek() {
                    Some(Kind::Word(word)) if word == "if" => Some("if"),
                    Some(Kind::Word(word)) if word == "with" => Some("with"),
                    _ => None,
                };
                if also.is_some() {
                    self.next += 1;
                } else {
                    self.close("else")?;
                }
                Ok(Action::End(End::Else(also)))
            }
            "end" => {
                self.next += 1;
                self.close("end")?;
                Ok(Action::End(End::Word))
            }
            "break" | "continue" => {
                self.next += 1;
                self.close(&word)?;
                if self.loops == 0 {
                    return self.wrong(format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                Ok(Action::Node(if word == "break" { Node::Break } else { Node::Continue }))
            }
            "define" | "template" | "block" => self.wrong(format!("{{{{{word}}}}} is not supported")),
            _ => {
                let pipeline = self.pipeline("command", &Kind::Close)?;
                Ok(Action::Node(Node::Show(pipeline)))
            }
        }
    }

    fn close(&mut self, context: &str) -> Result<(), Wrong> {
        self.skip_space();
        match self.take().map(|token| token.kind) {
            Some(Kind::Close) => Ok(()),
            Some(other) => self.wrong(format!("unexpected {} in {context}", describe(&other))),
            None => self.wrong("unclosed action"),
        }
    }

    fn control(&mut self, word: &str) -> Result<Node, Wrong> {
        let scope = self.variables.len();
        let test = self.pipeline(word, &Kind::Close)?;
        self.loops += usize::from(word == "range");
        let (then, end) = self.nodes()?;
        self.loops -= usize::from(word == "range");
        let other = match end {
            End::Word => Vec::new(),
            End::Input => return self.wrong("unexpected EOF"),
            End::Else(Some(also)) => vec![self.control(also)?],
            End::Else(None) => {
                let (nodes, end) = self.nodes()?;
                match end {
                    End::Word => nodes,
                    End::Input => return self.wrong("unexpected EOF"),
                    End::Else(_) => return self.wrong("expected end; found {{else}}"),
                }
            }
        };
        self.variables.truncate(scope);
        Ok(match word {
            "if" => Node::If { test, then, other },
            "with" => Node::With { test, then, other },
            _ => Node::Range { over: test, body: then, other },
        })
    }

    fn pipeline(&mut self, context: &str, end: &Kind) -> Result<Pipeline, Wrong> {
        self.deeper()?;
        self.skip_space();
        let (declare, new) = self.declaration(context)?;
        let mut commands = Vec::new();
        loop {
            self.skip_space();
            let command = self.command(context)?;
            if command.args.is_empty() {
                return self.wrong(format!("missing value for {context}"));
            }
            commands.push(command);
            self.skip_space();
            match self.take() {
                Some(token) if token.kind == Kind::Pipe => {}
                Some(token) if token.kind == *end => break,
                Some(token) => {
                    return self.wrong(format!("unexpected {} in {context}", describe(&token.kind)));
                }
                None => return self.wrong("unclosed action"),
            }
        }
        if new {
            self.variables.extend(declare.iter().cloned());
        }
        self.depth -= 1;
        Ok(Pipeline { declare, new, commands })
    }

    /// `$x :=`, `$i, $x :=` or `$x =` before a pipeline.
    fn declaration(&mut self, context: &str) -> Result<(Vec<String>, bool), Wrong> {
        let start = self.next;
        let mut names = Vec::new();
        while let Some(Kind::Variable(name)) = self.peek().cloned() {
            self.next += 1;
            names.push(name);
            self.skip_space();
            match self.peek() {
                Some(Kind::Comma) if context == "range" && names.len() == 1 => {
                    self.next += 1;
                    self.skip_space();
                }
                Some(Kind::Declare) => {
                    self.next += 1;
                    return Ok((names, true));
                }
                Some(Kind::Assign) => {
                    self.next += 1;
                    return Ok((names, false));
                }
                _ => break,
            }
        }
        self.next = start;
        Ok((Vec::new(), false))
    }

    fn command(&mut self, context: &str) -> Result<Command, Wrong> {
        let mut args = Vec::new();
        while let Some(operand) = self.operand(context)? {
            args.push(operand);
            if self.peek() == Some(&Kind::Space) {
                self.skip_space();
            } else {
                break;
            }
        }
        Ok(Command { args })
    }

    fn operand(&mut self, context: &str) -> Result<Option<Operand>, Wrong> {
        let Some(token) = self.tokens.get(self.next).cloned() else { return self.wrong("unclosed action") };
        let (kind, text) = match token.kind {
            Kind::Dot => (OperandKind::Dot, ".".to_owned()),
            Kind::Field(name) => {
                let text = format!(".{name}");
                (OperandKind::Field(vec![name]), text)
            }
            Kind::Variable(name) => {
                if !self.variables.contains(&name) {
                    return self.wrong(format!("undefined variable {}", crate::words::check::quote(&name)));
                }
                (OperandKind::Variable(name.clone(), Vec::new()), name)
            }
            Kind::Text2(text) => {
                let shown = crate::words::check::quote(&text);
                (OperandKind::Value(text.into()), shown)
            }
            Kind::Int(number) => (OperandKind::Value(number.into()), number.to_string()),
            Kind::Float(number) => (OperandKind::Value(number.into()), number.to_string()),
            Kind::Word(word) => match word.as_str() {
                "true" => (OperandKind::Value(true.into()), word),
                "false" => (OperandKind::Value(false.into()), word),
                "nil" => (OperandKind::Nil, word),
                _ if functions::exists(&word) => (OperandKind::Function(word.clone()), word),
                _ => {
                    self.next += 1;
                    return self.wrong(format!("function {} not defined", crate::words::check::quote(&word)));
                }
            },
            Kind::Left => {
                self.next += 1;
                let inner = self.pipeline("parenthesized pipeline", &Kind::Right)?;
                self.next -= 1;
                (OperandKind::Inner(inner, Vec::new()), "(…)".to_owned())
            }
            _ => return Ok(None),
        };
        self.next += 1;
        let mut operand = Operand { at: token.at, text, kind };
        self.chain(&mut operand);
        let _ = context;
        Ok(Some(operand))
    }

    /// Fields that follow an operand without a space.
    fn chain(&mut self, operand: &mut Operand) {
        let mut first = true;
        while let Some(Kind::Field(name)) = self.peek().cloned() {
            let Some(token) = self.tokens.get(self.next) else { return };
            if first {
                // Go's parser counts from the chain's second link.
                operand.at = token.at;
                first = false;
            }
            self.next += 1;
            operand.text.push('.');
            operand.text.push_str(&name);
            match &mut operand.kind {
                OperandKind::Field(names)
                | OperandKind::Variable(_, names)
                | OperandKind::Inner(_, names) => {
                    names.push(name);
                }
                OperandKind::Dot | OperandKind::Nil | OperandKind::Value(_) | OperandKind::Function(_) => {}
            }
        }
    }
}

enum Action {
    Node(Node),
    End(End),
}

fn describe(kind: &Kind) -> String {
    match kind {
        Kind::Text(text) | Kind::Word(text) | Kind::Variable(text) => format!("<{text}>"),
        Kind::Text2(text) => crate::words::check::quote(&crate::words::check::quote(text)),
        Kind::Field(name) => format!("<.{name}>"),
        Kind::Open => "\"{{\"".to_owned(),
        Kind::Close => "\"}}\"".to_owned(),
        Kind::Dot => "<.>".to_owned(),
        Kind::Int(number) => format!("\"{number}\""),
        Kind::Float(number) => format!("\"{number}\""),
        Kind::Pipe => "\"|\"".to_owned(),
        Kind::Left => "\"(\"".to_owned(),
        Kind::Right => "\")\"".to_owned(),
        Kind::Declare => "\":=\"".to_owned(),
        Kind::Assign => "\"=\"".to_owned(),
        Kind::Comma => "\",\"".to_owned(),
        Kind::Space => "\" \"".to_owned(),
    }
}
