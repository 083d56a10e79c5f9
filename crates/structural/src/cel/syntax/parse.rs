//! From tokens to a tree, by precedence.

use super::lex::{Placed, Token, lex};
use super::{Binary, Entry, Expr, Fault, Kind, Literal, MAX_DEPTH};

/// Words that may not be names.
const RESERVED: [&str; 16] = [
    "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop",
    "package", "return", "var", "void", "while",
];

/// Longest text that is read.
const LONGEST: usize = 100_000;

pub(crate) fn parse(source: &str) -> Result<Expr, Fault> {
    if source.chars().count() > LONGEST {
        let message = format!(
            "expression code point size exceeds limit: size: {}, limit {LONGEST}",
            source.chars().count()
        );
        return Err(Fault::new(0, message));
    }
    let mut parser = Parser {
        source,
        tokens: lex(source)?,
        next: 0,
        nesting: 0,
    };
    let expr = parser.conditional()?;
    match parser.peek() {
        Token::End => Ok(expr),
        _ => Err(parser.unexpected()),
    }
}

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Placed>,
    next: usize,
    nesting: u16,
}

type Parsed = Result<Expr, Fault>;

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].token
    }

    fn at(&self) -> usize {
        self.tokens[self.next].at
    }

    fn advance(&mut self) {
        self.next = (self.next + 1).min(self.tokens.len() - 1);
    }

    fn eat(&mut self, mark: &str) -> bool {
        let found = matches!(self.peek(), Token::Mark(known) if *known == mark);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, mark: &str) -> Result<(), Fault> {
        if self.eat(mark) {
            return Ok(());
        }
        let shown = self.shown();
        Err(Fault::new(
            self.at(),
            format!("Syntax error: mismatched input {shown} expecting '{mark}'"),
        ))
    }

    /// The next token as it is written.
    fn shown(&self) -> String {
        let next = self.tokens.get(self.next + 1);
        let end = next.map_or(self.source.len(), |next| next.at);
        match self.source.get(self.at()..end).map(str::trim_end) {
            None | Some("") => "'<EOF>'".into(),
            Some(text) => format!("'{text}'"),
        }
    }

    fn unexpected(&self) -> Fault {
        Fault::new(
            self.at(),
            format!(
                "Syntax error: mismatched input {} expecting <EOF>",
                self.shown()
            ),
        )
    }

    fn node(at: usize, kind: Kind) -> Parsed {
        let depth = depth_below(&kind) + 1;
        if depth > MAX_DEPTH {
            return Err(too_deep(at));
        }
        Ok(Expr { kind, at, depth })
    }

    /// `a ? b : c`; what everything inside brackets begins with.
    fn conditional(&mut self) -> Parsed {
        if self.nesting >= MAX_DEPTH {
            return Err(too_deep(self.at()));
        }
        self.nesting += 1;
        let parsed = self.conditional_inside();
        self.nesting -= 1;
        parsed
    }

    fn conditional_inside(&mut self) -> Parsed {
        let condition = self.either()?;
        let at = self.at();
        if !self.eat("?") {
            return Ok(condition);
        }
        let then = self.either()?;
        self.expect(":")?;
        let otherwise = self.conditional()?;
        Self::node(
            at,
            Kind::Conditional(Box::new([condition, then, otherwise])),
        )
    }

    fn either(&mut self) -> Parsed {
        let at = self.at();
        let mut all = vec![self.both()?];
        while self.eat("||") {
            all.push(self.both()?);
        }
        match all.len() {
            1 => Ok(all.swap_remove(0)),
            _ => Self::node(at, Kind::Or(all)),
        }
    }

    fn both(&mut self) -> Parsed {
        let at = self.at();
        let mut all = vec![self.binary(0)?];
        while self.eat("&&") {
            all.push(self.binary(0)?);
        }
        match all.len() {
            1 => Ok(all.swap_remove(0)),
            _ => Self::node(at, Kind::And(all)),
        }
    }

    /// Relations, sums, products: by how strongly they bind.
    fn binary(&mut self, least: u8) -> Parsed {
        let mut left = self.unary()?;
        while let Some((operator, strength)) =
            self.operator().filter(|(_, strength)| *strength >= least)
        {
            let at = self.at();
            self.advance();
            let right = self.binary(strength + 1)?;
            left = Self::node(at, Kind::Binary(operator, Box::new([left, right])))?;
        }
        Ok(left)
    }

    fn operator(&self) -> Option<(Binary, u8)> {
        let Token::Mark(mark) = self.peek() else {
            return None;
        };
        Some(match *mark {
            "==" => (Binary::Equal, 0),
            "!=" => (Binary::Unequal, 0),
            "<" => (Binary::Less, 0),
            "<=" => (Binary::LessOrEqual, 0),
            ">" => (Binary::Greater, 0),
            ">=" => (Binary::GreaterOrEqual, 0),
            "in" => (Binary::In, 0),
            "+" => (Binary::Add, 1),
            "-" => (Binary::Subtract, 1),
            "*" => (Binary::Multiply, 2),
            "/" => (Binary::Divide, 2),
            "%" => (Binary::Remainder, 2),
            _ => return None,
        })
    }

    /// Any number of `!` or of `-`: two take each other away.
    fn unary(&mut self) -> Parsed {
        let at = self.at();
        let mut count = 0;
        for mark in ["!", "-"] {
            while self.eat(mark) {
                count += 1;
            }
            if count == 0 {
                continue;
            }
            if mark == "-"
                && count % 2 == 1
                && let Some(literal) = self.negative()
            {
                let literal = Self::node(at, Kind::Literal(literal))?;
                return self.members(literal);
            }
            let operand = self.member()?;
            return match (mark, count % 2) {
                (_, 0) => Ok(operand),
                ("!", _) => Self::node(at, Kind::Not(Box::new(operand))),
                _ => Self::node(at, Kind::Negate(Box::new(operand))),
            };
        }
        self.member()
    }

    /// A number whose sign was read.
    fn negative(&mut self) -> Option<Literal> {
        let literal = match self.peek() {
            Token::Literal(Literal::Int(value)) => Literal::Int(value.wrapping_neg()),
            Token::Literal(Literal::Double(value)) => Literal::Double(-value),
            _ => return None,
        };
        self.advance();
        Some(literal)
    }

    fn member(&mut self) -> Parsed {
        let operand = self.primary()?;
        self.members(operand)
    }

    /// `.field`, `.call()`, `[index]`, after an operand.
    fn members(&mut self, mut operand: Expr) -> Parsed {
        loop {
            let at = self.at();
            let optional = self.eat(".?");
            if optional || self.eat(".") {
                let field = self.name()?;
                let call_at = self.at();
                operand = if !optional && self.eat("(") {
                    let args = self.arguments(")")?;
                    let target = Some(Box::new(operand));
                    Self::node(
                        call_at,
                        Kind::Call {
                            target,
                            function: field,
                            args,
                        },
                    )?
                } else {
                    let operand = Box::new(operand);
                    Self::node(
                        at,
                        Kind::Select {
                            operand,
                            field,
                            optional,
                        },
                    )?
                };
                continue;
            }
            let optional = self.eat("[?");
            if !optional && !self.eat("[") {
                return Ok(operand);
            }
            let index = Box::new(self.conditional()?);
            self.expect("]")?;
            let boxed = Box::new(operand);
            operand = Self::node(
                at,
                Kind::Index {
                    operand: boxed,
                    index,
                    optional,
                },
            )?;
        }
    }

    fn name(&mut self) -> Result<String, Fault> {
        match self.peek().clone() {
            Token::Ident(name) => {
                self.advance();
                Ok(name)
            }
            _ => {
                let shown = self.shown();
                Err(Fault::new(
                    self.at(),
                    format!("Syntax error: mismatched input {shown} expecting IDENTIFIER"),
                ))
            }
        }
    }

    fn arguments(&mut self, end: &str) -> Result<Vec<Expr>, Fault> {
        let mut args = Vec::new();
        while !self.eat(end) {
            if !args.is_empty() {
                self.expect(",")?;
                if self.eat(end) {
                    break;
                }
            }
            args.push(self.conditional()?);
        }
        Ok(args)
    }

    fn primary(&mut self) -> Parsed {
        let at = self.at();
        if self.eat("(") {
            let inner = self.conditional()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.eat("[") {
            return self.list(at, false);
        }
        if self.eat("[?") {
            return self.list(at, true);
        }
        if self.eat("{") {
            return self.map(at);
        }
        self.eat(".");
        match self.peek().clone() {
            Token::Literal(Literal::Int(i64::MIN)) => Err(Fault::new(at, "invalid int literal")),
            Token::Literal(literal) => {
                self.advance();
                Self::node(at, Kind::Literal(literal))
            }
            Token::Ident(name) => {
                if RESERVED.contains(&name.as_str()) {
                    return Err(Fault::new(at, format!("reserved identifier: {name}")));
                }
                self.advance();
                let call_at = self.at();
                if self.eat("(") {
                    let args = self.arguments(")")?;
                    return Self::node(
                        call_at,
                        Kind::Call {
                            target: None,
                            function: name,
                            args,
                        },
                    );
                }
                Self::node(at, Kind::Ident(name))
            }
            _ => {
                let shown = self.shown();
                Err(Fault::new(
                    at,
                    format!("Syntax error: mismatched input {shown}"),
                ))
            }
        }
    }

    /// The members of a list whose bracket was read; `[?` marks the first as optional.
    fn list(&mut self, at: usize, mut optional: bool) -> Parsed {
        let mut entries = Vec::new();
        while optional || !self.eat("]") {
            if !entries.is_empty() {
                self.expect(",")?;
                if self.eat("]") {
                    break;
                }
            }
            optional |= self.eat("?");
            let value = self.conditional()?;
            entries.push(Entry {
                optional,
                key: None,
                value,
            });
            optional = false;
        }
        Self::node(at, Kind::List(entries))
    }

    fn map(&mut self, at: usize) -> Parsed {
        let mut entries = Vec::new();
        while !self.eat("}") {
            if !entries.is_empty() {
                self.expect(",")?;
                if self.eat("}") {
                    break;
                }
            }
            let optional = self.eat("?");
            let key = Some(self.conditional()?);
            self.expect(":")?;
            let value = self.conditional()?;
            entries.push(Entry {
                optional,
                key,
                value,
            });
        }
        Self::node(at, Kind::Map(entries))
    }
}

fn too_deep(at: usize) -> Fault {
    Fault::new(
        at,
        format!("expression recursion limit exceeded: {MAX_DEPTH}"),
    )
}

fn depth_below(kind: &Kind) -> u16 {
    let deepest = |all: &[Expr]| all.iter().map(|expr| expr.depth).max().unwrap_or_default();
    match kind {
        Kind::Literal(_) | Kind::Ident(_) => 0,
        Kind::Select { operand, .. } => operand.depth,
        Kind::Index { operand, index, .. } => operand.depth.max(index.depth),
        Kind::Call { target, args, .. } => target
            .as_ref()
            .map_or(0, |target| target.depth)
            .max(deepest(args)),
        Kind::And(all) | Kind::Or(all) => deepest(all),
        Kind::Not(operand) | Kind::Negate(operand) => operand.depth,
        Kind::Conditional(parts) => deepest(parts.as_slice()),
        Kind::Binary(_, parts) => deepest(parts.as_slice()),
        Kind::List(entries) | Kind::Map(entries) => {
            let depth = |entry: &Entry| {
                entry
                    .key
                    .as_ref()
                    .map_or(0, |key| key.depth)
                    .max(entry.value.depth)
            };
            entries.iter().map(depth).max().unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_binds_stronger_is_deeper() {
        let same = [
            ("1 + 2 * 3", "1 + (2 * 3)"),
            ("a || b && c", "a || (b && c)"),
            ("a == b + 1", "a == (b + 1)"),
            ("a ? b : c ? d : e", "a ? b : (c ? d : e)"),
            ("-a.b", "-(a.b)"),
            ("1 - 2 - 3", "(1 - 2) - 3"),
        ];
        let bare = |text: &str| {
            let shown = format!("{:?}", parse(text).unwrap());
            let numbers = regex::Regex::new("(at|depth): [0-9]+").unwrap();
            numbers.replace_all(&shown, "").into_owned()
        };
        for (one, other) in same {
            assert_eq!(bare(one), bare(other), "{one}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused_with_its_place() {
        for (text, at) in [
            ("", 0),
            ("a +", 3),
            ("a b", 2),
            ("(a", 2),
            ("a[1", 3),
            ("'a", 0),
            ("'\\q'", 0),
            ("a # b", 2),
            ("package", 0),
            ("{a}", 2),
            ("9223372036854775808", 0),
            ("18446744073709551616u", 0),
        ] {
            assert_eq!(parse(text).unwrap_err().at, at, "{text}");
        }
        assert!(parse("-9223372036854775808").is_ok());
        for deep in [
            "(".repeat(5000),
            "[".repeat(5000),
            "a".to_owned() + &" + a".repeat(5000),
            "!a?b:".repeat(5000),
        ] {
            assert!(parse(&deep).is_err());
        }
        assert!(parse(&("a".to_owned() + &" && a".repeat(5000))).is_ok());
    }

    #[test]
    fn literals_are_read() {
        for (text, literal) in [
            ("0x1F", Literal::Int(31)),
            ("7u", Literal::Uint(7)),
            (".5", Literal::Double(0.5)),
            ("1e3", Literal::Double(1000.0)),
            ("-2", Literal::Int(-2)),
            (r#"'a\n\x41\u00e4\101'"#, Literal::Text("a\nAäA".into())),
            (r#"r'\d'"#, Literal::Text("\\d".into())),
            ("'''a'b'''", Literal::Text("a'b".into())),
            (r#"b'\xff'"#, Literal::Bytes(vec![255])),
        ] {
            assert_eq!(parse(text).unwrap().kind, Kind::Literal(literal), "{text}");
        }
    }
}
