//! The kinds of rules, as a recipe names them.

use serde::{Deserialize, Serialize};

use super::c4_quality::C4Quality;
use super::error::RuleProblem;
use super::fields::{HasFields, MeshTerms, YearRange};
use super::fineweb_quality::FineWebQuality;
use super::gopher_quality::GopherQuality;
use super::gopher_repetition::GopherRepetition;
use super::language::LanguageRule;
use super::length::{MaxCharacters, MaxWords, MinCharacters, MinWords};
use super::mojibake::Mojibake;
use super::nfkc::Nfkc;
use super::ratios::{DigitRatio, SymbolRatio};
use super::rule::{Parameters, Problems, Rule};
use super::whitespace::Whitespace;

macro_rules! rule_kinds {
    ($($(#[$doc:meta])* $kind:literal: $name:ident($parameters:ident), $source:literal;)*) => {
        /// One rule of a recipe: its kind, with its thresholds.
        ///
        /// In TOML, `kind` stands beside the parameters, and each parameter left out has its default:
        ///
        /// ```toml
        /// [[rule]]
        /// kind = "min-words"
        /// min = 51
        /// ```
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind")]
        #[non_exhaustive]
        pub enum RuleConfig {
            $($(#[$doc])* #[serde(rename = $kind)] $name($parameters),)*
        }

        impl RuleConfig {
            /// The names of all kinds.
            pub const KINDS: &'static [&'static str] = &[$($kind),*];

            /// The name of its kind.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$name(_) => $kind,)* }
            }

            /// Where the rule comes from: the paper and section, or the code.
            #[must_use]
            pub fn source(&self) -> &'static str {
                match self { $(Self::$name(_) => $source,)* }
            }

            /// A rule with all defaults, if there is such a kind.
            #[must_use]
            pub fn with_defaults(kind: &str) -> Option<Self> {
                match kind {
                    $($kind => Some(Self::$name($parameters::default())),)*
                    _ => None,
                }
            }

            /// The names of its parameters.
            #[must_use]
            pub fn parameters(&self) -> &'static [&'static str] {
                match self { $(Self::$name(_) => $parameters::NAMES,)* }
            }

            fn as_parameters(&self) -> &dyn Parameters {
                match self { $(Self::$name(parameters) => parameters,)* }
            }
        }
    };
}

rule_kinds! {
    /// Whitespace and control characters are cleaned up; changes the text.
    "whitespace": Whitespace(Whitespace), "house rule; line ends and blank lines as in CommonMark 0.31";
    /// Unicode normalization form KC; changes the text.
    "nfkc": Nfkc(Nfkc), "Unicode Standard Annex 15, form NFKC";
    /// UTF-8 that was read as another encoding is read again; changes the text.
    "mojibake": Mojibake(Mojibake), "Speer (2019), ftfy, https://doi.org/10.5281/zenodo.2591652";
    /// Fewest words.
    "min-words": MinWords(MinWords), "the course: more than 50 words";
    /// Most words.
    "max-words": MaxWords(MaxWords), "Rae et al. (2021), arXiv:2112.11446, Appendix A.1.1";
    /// Fewest characters.
    "min-characters": MinCharacters(MinCharacters), "C4's shortest paragraph in Xue et al. (2021), arXiv:2010.11934, section 3.1";
    /// Most characters.
    "max-characters": MaxCharacters(MaxCharacters), "house rule";
    /// Share of symbols among the visible characters.
    "symbol-ratio": SymbolRatio(SymbolRatio), "Laurencon et al. (2022), arXiv:2303.03915, Appendix: special characters";
    /// Share of digits among the visible characters.
    "digit-ratio": DigitRatio(DigitRatio), "house rule";
    /// The quality rules of Gopher.
    "gopher-quality": GopherQuality(GopherQuality), "Rae et al. (2021), arXiv:2112.11446, Appendix A.1.1; as in datatrove 0.10";
    /// The repetition rules of Gopher.
    "gopher-repetition": GopherRepetition(GopherRepetition), "Rae et al. (2021), arXiv:2112.11446, Table A1; as in datatrove 0.10";
    /// The line and page rules of C4; removes lines and citation marks from the text.
    "c4-quality": C4Quality(C4Quality), "Raffel et al. (2020), JMLR 21(140), section 2.2; as in datatrove 0.10";
    /// The rules that FineWeb added.
    "fineweb-quality": FineWebQuality(FineWebQuality), "Penedo et al. (2024), arXiv:2406.17557, section 3.6; as in datatrove 0.10";
    /// The language of the text.
    "language": Language(LanguageRule), "scripts by Unicode blocks; whatlang within a script";
    /// The year of publication.
    "year-range": YearRange(YearRange), "house rule";
    /// Fields that must be there.
    "has-fields": HasFields(HasFields), "house rule";
    /// MeSH headings that must, or must not, be there.
    "mesh-terms": MeshTerms(MeshTerms), "Medical Subject Headings, https://www.nlm.nih.gov/mesh";
}

impl RuleConfig {
    /// Notes what is wrong with the thresholds of the rule at `place`.
    pub(crate) fn check(&self, place: &str, found: &mut Vec<RuleProblem>) {
        self.as_parameters().check(&mut Problems { place, found });
    }

    pub(super) fn build(&self) -> Box<dyn Rule> {
        self.as_parameters().build()
    }
}
