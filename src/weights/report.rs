use std::fmt;

/// What may differ between a model and the tensors that are loaded into it.
///
/// By default nothing may. What differs is named in the [`Report`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// Parameters without a tensor keep their values.
    pub missing: bool,
    /// Tensors without a parameter are ignored.
    pub unused: bool,
    /// Parameters whose tensor has another shape keep their values.
    pub other_shapes: bool,
}

impl Allow {
    /// Nothing may differ.
    pub const NOTHING: Self = Self { missing: false, unused: false, other_shapes: false };
}

/// What became of each parameter and each tensor. Names are those of the other framework.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Parameters that were loaded.
    pub loaded: Vec<String>,
    /// Parameters without a tensor.
    pub missing: Vec<String>,
    /// Tensors without a parameter.
    pub unused: Vec<String>,
    /// Parameters whose tensor has another shape.
    pub wrong_shape: Vec<WrongShape>,
}

/// A parameter whose tensor has another shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongShape {
    /// The name of both.
    pub name: String,
    /// The shape of the tensor.
    pub found: Vec<usize>,
    /// The shape of the parameter, in the layout of PyTorch.
    pub expected: Vec<usize>,
}

impl fmt::Display for WrongShape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { name, found, expected } = self;
        write!(f, "`{name}` has the shape {found:?}, but {expected:?} is expected")
    }
}

impl Report {
    /// Describes what may not differ, if anything does.
    pub(super) fn refusal(&self, allow: Allow) -> Option<String> {
        let mut parts = Vec::new();
        if !allow.missing && !self.missing.is_empty() {
            parts.push(format!("no tensor is called {}", list(&self.missing)));
        }
        if !allow.unused && !self.unused.is_empty() {
            parts.push(format!("no parameter is called {}", list(&self.unused)));
        }
        if !allow.other_shapes {
            parts.extend(self.wrong_shape.iter().take(SHOWN).map(WrongShape::to_string));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// Maximum number of names in a message.
const SHOWN: usize = 8;

fn list(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// One line for each kind that occurs.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} parameters loaded", self.loaded.len())?;
        if !self.missing.is_empty() {
            write!(f, "\nmissing: {}", list(&self.missing))?;
        }
        if !self.unused.is_empty() {
            write!(f, "\nunused: {}", list(&self.unused))?;
        }
        self.wrong_shape.iter().try_for_each(|wrong| write!(f, "\n{wrong}"))
    }
}
