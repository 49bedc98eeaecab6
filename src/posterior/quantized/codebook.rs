use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use burn::tensor::{ExecutionError, Int, Tensor};

use crate::error::{Error, ErrorKind, Result};

/// A finite set of numbered codes.
///
/// A code of a model consists of groups of [`columns`](Self::columns) columns; each group is an
/// entry of the codebook. An entry has one index or, in a residual codebook, one for each of its
/// quantisers.
pub trait Codebook: Clone + Debug + Send {
    /// The number of codes of a quantiser.
    fn codes(&self) -> usize;

    /// The length of a code.
    fn columns(&self) -> usize;

    /// The number of indices of a group.
    fn quantizers(&self) -> usize {
        1
    }

    /// Returns the indices of codes; those of vectors beside the codebook are those of a near code.
    ///
    /// # Shapes
    /// - `z`: `[n, groups * columns]`
    /// - output: `[n, groups * quantizers]`, below [`codes`](Self::codes)
    ///
    /// # Panics
    /// If the columns do not divide into groups.
    fn indices(&self, z: Tensor<2>) -> Tensor<2, Int>;

    /// Returns the codes of valid indices: [`indices`](Self::indices) backwards.
    ///
    /// # Shapes
    /// - `indices`: `[n, groups * quantizers]`
    /// - output: `[n, groups * columns]`
    fn lookup(&self, indices: Tensor<2, Int>) -> Tensor<2>;

    /// Like [`lookup`](Self::lookup), for indices from anywhere.
    ///
    /// # Errors
    /// If an index is negative or not below [`codes`](Self::codes), or if the indices do not divide
    /// into groups.
    fn codes_of(&self, indices: Tensor<2, Int>) -> Result<Tensor<2>> {
        count(self, &indices)?;
        Ok(self.lookup(indices))
    }

    /// Counts how often each code occurs in all groups together: the codes of the first quantiser,
    /// then those of the next.
    ///
    /// # Shapes
    /// - `indices`: `[n, groups * quantizers]`
    ///
    /// # Errors
    /// As for [`codes_of`](Self::codes_of).
    fn counts(&self, indices: Tensor<2, Int>) -> Result<Vec<u64>> {
        let counts = count(self, &indices)?.counts;
        let codes = 0..self.codes();
        Ok(counts.iter().flat_map(|of| codes.clone().map(|i| *of.get(&i).unwrap_or(&0))).collect())
    }

    /// Returns how many codes occur in all groups together, and how evenly.
    ///
    /// # Shapes
    /// - `indices`: `[n, groups * quantizers]`
    ///
    /// # Errors
    /// As for [`codes_of`](Self::codes_of).
    fn usage(&self, indices: Tensor<2, Int>) -> Result<Usage> {
        Ok(count(self, &indices)?.usage())
    }

    /// Returns the number of groups of a code.
    ///
    /// # Panics
    /// If the columns do not divide into groups.
    fn groups(&self, latent_dim: usize) -> usize {
        let columns = self.columns();
        assert!(latent_dim.is_multiple_of(columns), "{latent_dim} columns in groups of {columns}");
        latent_dim / columns
    }
}

/// Reads indices and counts them.
fn count<C: Codebook>(codebook: &C, indices: &Tensor<2, Int>) -> Result<CodeCounts> {
    let (codes, quantizers) = (codebook.codes(), codebook.quantizers());
    let given = indices.dims()[1];
    if !given.is_multiple_of(quantizers) {
        return Err(Error::value(format!(
            "{given} indices do not divide into groups of {quantizers}"
        )));
    }
    let counts = CodeIndices::new(indices.clone(), codes, quantizers).count();
    let counts = counts.map_err(|error| Error::around(error, ErrorKind::Backend))?;
    match counts.stray {
        Some(index) => Err(Error::value(format!("index {index} is not one of {codes} codes"))),
        None => Ok(counts),
    }
}

/// The indices of the codes of a batch, and what they count.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CodeIndices {
    /// `[batch, groups * quantizers]`
    pub indices: Tensor<2, Int>,
    /// The number of codes of a quantiser.
    pub codes: usize,
    /// The number of indices of a group.
    pub quantizers: usize,
}

impl CodeIndices {
    /// Describes the indices of a posterior of your own.
    ///
    /// # Shapes
    /// - `indices`: `[batch, groups * quantizers]`, below `codes`
    ///
    /// # Panics
    /// If there are no quantisers.
    pub fn new(indices: Tensor<2, Int>, codes: usize, quantizers: usize) -> Self {
        assert!(quantizers > 0, "codes without quantisers");
        Self { indices, codes, quantizers }
    }

    /// Reads the indices from their device and counts them.
    pub(crate) fn count(self) -> Result<CodeCounts, ExecutionError> {
        let Self { indices, codes, quantizers } = self;
        let mut counts = CodeCounts { counts: vec![Counts::new(); quantizers], codes, stray: None };
        for (i, index) in indices.try_into_data()?.iter::<i64>().enumerate() {
            let place = usize::try_from(index).ok().filter(|place| *place < codes);
            match place {
                Some(place) => *counts.counts[i % quantizers].entry(place).or_default() += 1,
                None => counts.stray = counts.stray.or(Some(index)),
            }
        }
        Ok(counts)
    }
}

/// The codes that occur, and how often.
type Counts = BTreeMap<usize, u64>;

/// How often each code of each quantiser occurs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CodeCounts {
    counts: Vec<Counts>,
    /// The number of codes of a quantiser.
    codes: usize,
    /// An index that is not that of a code.
    stray: Option<i64>,
}

impl CodeCounts {
    /// Adds the counts of another batch.
    pub(crate) fn add(&mut self, other: &Self) {
        for (counts, others) in self.counts.iter_mut().zip(&other.counts) {
            others.iter().for_each(|(code, more)| *counts.entry(*code).or_default() += more);
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        let entropy = |counts: &Counts| {
            let total = counts.values().sum::<u64>() as f64;
            let terms = counts.values().map(|count| {
                let p = *count as f64 / total;
                -p * p.ln()
            });
            terms.sum::<f64>()
        };
        let entropies = self.counts.iter().map(entropy).sum::<f64>();
        Usage {
            codes: self.codes * self.counts.len(),
            used: self.counts.iter().map(Counts::len).sum(),
            perplexity: (entropies / self.counts.len() as f64).exp(),
        }
    }
}

/// How many codes of a [`Codebook`] occur, and how evenly.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Usage {
    /// The number of codes, of all quantisers together.
    pub codes: usize,
    /// The number of codes that occur.
    pub used: usize,
    /// The exponential of the entropy of their frequencies: the number of codes if all occur equally
    /// often. For several quantisers, the geometric mean.
    pub perplexity: f64,
}

impl Usage {
    /// Returns the share of the codes that occur, from 0 to 1.
    pub fn share(&self) -> f64 {
        self.used as f64 / self.codes as f64
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { codes, used, perplexity } = self;
        write!(f, "{used} of {codes} codes are used, with perplexity {perplexity:.1}")
    }
}

/// Checks that the columns of a code divide into groups of `columns`; the error names their number
/// `name`.
pub(super) fn check_groups(name: &str, latent_dim: usize, columns: usize) -> Result<()> {
    if latent_dim == 0 || !latent_dim.is_multiple_of(columns) {
        return Err(Error::config(format!(
            "{name} is {latent_dim}, but it must be a multiple of {columns}, the columns of a group"
        )));
    }
    Ok(())
}
