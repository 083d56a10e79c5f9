//! From a tree to code: every name is found, every type agrees, or the rule is refused with the
//! place in its text.

mod calls;
mod macros;
mod operators;

use std::sync::Arc;

use super::code::Code;
use super::names::unescape;
use super::syntax::{Expr, Fault, Kind, Literal};
use super::types::{self, Ty};
use super::value::{Text, Val};
pub(super) use calls::taken;
pub(super) use operators::result;

/// A rule as it was compiled.
#[derive(Debug)]
pub(super) struct Compiled {
    pub code: Code,
    pub ty: Ty,
    /// Whether `oldSelf` is spoken of.
    pub uses_old: bool,
}

/// Code and the type of what it gives.
type Typed = Result<(Code, Ty), Fault>;

/// Where `self` and `oldSelf` stand on the stack.
const OLD_SLOT: usize = 1;

/// Compiles a tree in which `self` is of a type.
pub(super) fn compile(expr: &Expr, ty: &Ty, old_is_optional: bool) -> Result<Compiled, Fault> {
    let old = match old_is_optional {
        true => Ty::optional(ty.clone()),
        false => ty.clone(),
    };
    compile_with(
        expr,
        vec![("self".into(), ty.clone()), ("oldSelf".into(), old)],
    )
}

/// Compiles a tree with these variables, which stand on the stack in this order.
pub(super) fn compile_with(expr: &Expr, scope: Vec<(String, Ty)>) -> Result<Compiled, Fault> {
    let mut checker = Checker {
        scope,
        uses_old: false,
    };
    let (code, ty) = checker.check(expr)?;
    Ok(Compiled {
        code,
        ty,
        uses_old: checker.uses_old,
    })
}

struct Checker {
    /// Variables, innermost last: their places on the stack.
    scope: Vec<(String, Ty)>,
    uses_old: bool,
}

impl Checker {
    fn check(&mut self, expr: &Expr) -> Typed {
        match &expr.kind {
            Kind::Literal(literal) => Ok(constant(literal)),
            Kind::Ident(name) => self.ident(name, expr.at),
            Kind::Select {
                operand,
                field,
                optional,
            } => self.select(operand, field, *optional, expr.at),
            Kind::Index {
                operand,
                index,
                optional,
            } => self.index(operand, index, *optional, expr.at),
            Kind::Call {
                target,
                function,
                args,
            } => self.call(target.as_deref(), function, args, expr.at),
            Kind::And(all) => Ok((Code::And(self.truths(all, "_&&_")?), Ty::Bool)),
            Kind::Or(all) => Ok((Code::Or(self.truths(all, "_||_")?), Ty::Bool)),
            Kind::Not(operand) => {
                let (code, ty) = self.check(operand)?;
                expect(&Ty::Bool, &ty, "!_", expr.at)?;
                Ok((Code::Not(Box::new(code)), Ty::Bool))
            }
            Kind::Negate(operand) => self.negate(operand, expr.at),
            Kind::Conditional(parts) => self.conditional(parts, expr.at),
            Kind::Binary(operator, parts) => self.binary(*operator, parts, expr.at),
            Kind::List(entries) => self.list(entries, expr.at),
            Kind::Map(entries) => self.map(entries, expr.at),
        }
    }

    /// Compiles with one more variable.
    fn with<T>(
        &mut self,
        name: &str,
        ty: Ty,
        run: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.scope.push((name.to_owned(), ty));
        let result = run(self);
        self.scope.pop();
        result
    }

    fn variable(&self, name: &str) -> Option<usize> {
        self.scope.iter().rposition(|(known, _)| known == name)
    }

    fn ident(&mut self, name: &str, at: usize) -> Typed {
        if let Some(slot) = self.variable(name) {
            self.uses_old |= slot == OLD_SLOT;
            return Ok((Code::Slot(slot), self.scope[slot].1.clone()));
        }
        const TYPES: [(&str, &str); 11] = [
            ("bool", "bool"),
            ("int", "int"),
            ("uint", "uint"),
            ("double", "double"),
            ("string", "string"),
            ("bytes", "bytes"),
            ("list", "list"),
            ("map", "map"),
            ("null_type", "null_type"),
            ("type", "type"),
            ("optional_type", "optional_type"),
        ];
        match TYPES.iter().find(|(known, _)| *known == name) {
            Some((_, name)) => Ok((Code::Const(Val::Type(name)), Ty::Type)),
            None => Err(undeclared(name, at)),
        }
    }

    fn select(&mut self, operand: &Expr, field: &str, optional: bool, at: usize) -> Typed {
        if let Some(name) = self.qualified(operand, field) {
            const TYPES: [&str; 10] = [
                "google.protobuf.Timestamp",
                "google.protobuf.Duration",
                "net.IP",
                "net.CIDR",
                "kubernetes.URL",
                "kubernetes.Quantity",
                "kubernetes.NamedFormat",
                "kubernetes.Semver",
                "google.protobuf.Any",
                "google.protobuf.Value",
            ];
            if let Some(name) = TYPES.iter().find(|known| **known == name) {
                return Ok((Code::Const(Val::Type(name)), Ty::Type));
            }
        }
        let (code, ty) = self.check(operand)?;
        let (ty, chained) = match &ty {
            Ty::Optional(inner) => (inner.as_ref().clone(), true),
            ty => (ty.clone(), false),
        };
        let (name, field_ty) = member(&ty, field, at)?;
        let code = Box::new(code);
        match optional || chained {
            true => {
                let inner = match field_ty {
                    Ty::Optional(inner) => inner.as_ref().clone(),
                    ty => ty,
                };
                Ok((Code::MaybeField(code, name), Ty::optional(inner)))
            }
            false => Ok((Code::Field(code, name), field_ty)),
        }
    }

    /// `a.b.c` if `a` is no variable.
    fn qualified(&self, operand: &Expr, field: &str) -> Option<String> {
        let name = match &operand.kind {
            Kind::Ident(name) if self.variable(name).is_none() => name.clone(),
            Kind::Select {
                operand,
                field,
                optional: false,
            } => self.qualified(operand, field)?,
            _ => return None,
        };
        Some(format!("{name}.{field}"))
    }

    fn index(&mut self, operand: &Expr, index: &Expr, optional: bool, at: usize) -> Typed {
        let (code, ty) = self.check(operand)?;
        let (index_code, index_ty) = self.check(index)?;
        let (ty, chained) = match &ty {
            Ty::Optional(inner) => (inner.as_ref().clone(), true),
            ty => (ty.clone(), false),
        };
        let wrong = || no_overload("_[_]", &[ty.clone(), index_ty.clone()], at);
        let item = match &ty {
            Ty::Dyn => Ty::Dyn,
            Ty::List(item) if index_ty.is_number() || index_ty == Ty::Dyn => item.as_ref().clone(),
            Ty::Map(key, value) if key.agrees(&index_ty) => value.as_ref().clone(),
            _ => return Err(wrong()),
        };
        let parts = Box::new([code, index_code]);
        Ok(match optional || chained {
            true => (Code::MaybeIndex(parts), Ty::optional(item)),
            false => (Code::Index(parts), item),
        })
    }
}

/// The field that a select means, and its type.
fn member(ty: &Ty, field: &str, at: usize) -> Result<(Box<str>, Ty), Fault> {
    match ty {
        Ty::Dyn => Ok((field.into(), Ty::Dyn)),
        Ty::Map(key, value) if key.agrees(&Ty::Text) => Ok((field.into(), value.as_ref().clone())),
        Ty::Node(node) => {
            let undefined = || Fault::new(at, format!("undefined field '{field}'"));
            let name = unescape(field).ok_or_else(undefined)?;
            let below = types::field(node, &name).ok_or_else(undefined)?;
            let ty = Ty::of(below).ok_or_else(undefined)?;
            Ok((name.into(), ty))
        }
        ty => Err(Fault::new(
            at,
            format!("type '{ty}' does not support field selection"),
        )),
    }
}

fn constant(literal: &Literal) -> (Code, Ty) {
    let (value, ty) = match literal {
        Literal::Null => (Val::Null, Ty::Null),
        Literal::Bool(value) => (Val::Bool(*value), Ty::Bool),
        Literal::Int(value) => (Val::Int(*value), Ty::Int),
        Literal::Uint(value) => (Val::Uint(*value), Ty::Uint),
        Literal::Double(value) => (Val::Double(*value), Ty::Double),
        Literal::Text(text) => (Val::Text(Text::Made(Arc::from(text.as_str()))), Ty::Text),
        Literal::Bytes(bytes) => (Val::Bytes(bytes.as_slice().into()), Ty::Bytes),
    };
    (Code::Const(value), ty)
}

fn undeclared(name: &str, at: usize) -> Fault {
    Fault::new(
        at,
        format!("undeclared reference to '{name}' (in container '')"),
    )
}

fn no_overload(function: &str, args: &[Ty], at: usize) -> Fault {
    let args: Vec<String> = args.iter().map(Ty::to_string).collect();
    let args = args.join(", ");
    Fault::new(
        at,
        format!("found no matching overload for '{function}' applied to '({args})'"),
    )
}

fn no_member_overload(function: &str, target: &Ty, args: &[Ty], at: usize) -> Fault {
    let args: Vec<String> = args.iter().map(Ty::to_string).collect();
    let args = args.join(", ");
    let message =
        format!("found no matching overload for '{function}' applied to '{target}.({args})'");
    Fault::new(at, message)
}

fn expect(expected: &Ty, ty: &Ty, function: &str, at: usize) -> Result<(), Fault> {
    match expected.agrees(ty) {
        true => Ok(()),
        false => Err(no_overload(function, std::slice::from_ref(ty), at)),
    }
}
