//! SPDX licence expressions, as far as crates use them.

use std::collections::BTreeSet;

/// Whether somebody who accepts only the `allowed` licences may use code under this expression. The old `MIT/Apache-2.0`
/// means `OR`. A licence `WITH` an exception must be allowed as it stands. Something malformed is not allowed.
pub(crate) fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut parser = Parser { tokens: spaced.split_whitespace().peekable(), allowed };
    parser.either() == Some(true) && parser.tokens.next().is_none()
}

/// Recursive descent: `either` := `both` (OR `both`)*, `both` := `one` (AND `one`)*. Nothing stands for a syntax error.
struct Parser<'a, T: Iterator<Item = &'a str>> {
    tokens: std::iter::Peekable<T>,
    allowed: &'a BTreeSet<String>,
}

impl<'a, T: Iterator<Item = &'a str>> Parser<'a, T> {
    fn either(&mut self) -> Option<bool> {
        let mut value = self.both()?;
        while self.tokens.next_if_eq(&"OR").is_some() {
            value |= self.both()?;
        }
        Some(value)
    }

    fn both(&mut self) -> Option<bool> {
        let mut value = self.one()?;
        while self.tokens.next_if_eq(&"AND").is_some() {
            value &= self.one()?;
        }
        Some(value)
    }

    fn one(&mut self) -> Option<bool> {
        match self.tokens.next()? {
            "(" => {
                let value = self.either()?;
                self.tokens.next_if_eq(&")").map(|_| value)
            }
            ")" | "OR" | "AND" | "WITH" => None,
            licence if self.tokens.next_if_eq(&"WITH").is_some() => {
                let exception = self.tokens.next()?;
                Some(self.allowed.contains(&format!("{licence} WITH {exception}")))
            }
            licence => Some(self.allowed.contains(licence)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_judged_by_their_parts() {
        let allowed: BTreeSet<String> =
            ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "ISC"].map(str::to_owned).into();
        let cases = [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("MIT/GPL-3.0", true),
            ("Apache-2.0 / GPL-3.0", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0 WITH Other-exception", false),
            ("GPL-2.0 WITH Classpath-exception-2.0 OR MIT", true),
            ("(MIT OR GPL-3.0) AND ISC", true),
            ("MIT OR GPL-3.0 AND GPL-2.0", true),
            ("(MIT OR ISC) AND GPL-2.0", false),
            ("ISC AND (Apache-2.0 OR ISC) AND MIT", true),
            (" MIT OR ISC", true),
            ("", false),
            ("MIT OR", false),
            ("(MIT", false),
            ("MIT)", false),
            ("MIT ISC", false),
            ("OR", false),
        ];
        for (expression, expected) in cases {
            assert_eq!(is_allowed(expression, &allowed), expected, "`{expression}`");
        }
    }
}
