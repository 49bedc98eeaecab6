//! The architecture of a model as a graph, in DOT and as SVG.

use std::collections::HashMap;
use std::fmt::Write;

/// Boxes and the arrows between them.
#[derive(Default)]
pub(super) struct Diagram {
    boxes: Vec<Labelled>,
    arrows: Vec<[String; 2]>,
}

struct Labelled {
    id: String,
    lines: Vec<String>,
}

impl Diagram {
    /// Adds a box with one or two lines of text.
    pub(super) fn add_box(&mut self, id: &str, label: String, shape: Option<String>) {
        let lines = std::iter::once(label).chain(shape).collect();
        self.boxes.push(Labelled { id: id.into(), lines });
    }

    pub(super) fn add_arrow(&mut self, from: impl Into<String>, to: impl Into<String>) {
        self.arrows.push([from.into(), to.into()]);
    }

    pub(super) fn has_arrow_from(&self, id: &str) -> bool {
        self.arrows.iter().any(|[from, _]| from == id)
    }

    pub(super) fn to_dot(&self) -> String {
        let mut dot = String::from("digraph vae {\n  node [shape=box, fontname=\"sans-serif\"];\n");
        for Labelled { id, lines } in &self.boxes {
            let lines = lines.iter().map(|line| quoted(line)).collect::<Vec<_>>();
            _ = writeln!(dot, "  \"{}\" [label=\"{}\"];", quoted(id), lines.join("\\n"));
        }
        for [from, to] in &self.arrows {
            _ = writeln!(dot, "  \"{}\" -> \"{}\";", quoted(from), quoted(to));
        }
        dot + "}\n"
    }

    /// Draws the boxes in rows, each below all that lead to it. Text and lines have the colour of the
    /// text around the picture.
    pub(super) fn to_svg(&self) -> String {
        let rows = self.rows();
        let wide = |lines: &[String]| {
            let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
            longest as f64 * CHARACTER + 2.0 * PADDING
        };
        let width_of = |row: &[usize]| {
            row.iter().map(|&i| wide(&self.boxes[i].lines) + GAP).sum::<f64>() - GAP
        };
        let width = rows.iter().map(|row| width_of(row)).fold(0.0, f64::max);
        // Left, top and width of each box, by its id.
        let mut places = HashMap::new();
        for (depth, row) in rows.iter().enumerate() {
            let mut left = (width - width_of(row)) / 2.0;
            for &i in row {
                let own = wide(&self.boxes[i].lines);
                places.insert(&*self.boxes[i].id, (left, depth as f64 * ROW, own));
                left += own + GAP;
            }
        }
        // Arrows past other rows run in lanes beside the boxes.
        let (mut lines, mut lane) = (String::new(), width);
        for [from, to] in &self.arrows {
            let (Some(&(x1, y1, w1)), Some(&(x2, y2, w2))) =
                (places.get(&**from), places.get(&**to))
            else {
                continue;
            };
            _ = if y2 - y1 <= ROW {
                let (from, to) = (x1 + w1 / 2.0, x2 + w2 / 2.0);
                writeln!(lines, "<path d=\"M{from:.1} {:.1}L{to:.1} {y2:.1}\"/>", y1 + BOX)
            } else {
                lane += GAP;
                let (y1, y2) = (y1 + BOX / 2.0, y2 + BOX / 2.0);
                writeln!(
                    lines,
                    "<path d=\"M{:.1} {y1:.1}H{lane:.1}V{y2:.1}H{:.1}\"/>",
                    x1 + w1,
                    x2 + w2
                )
            };
        }
        let (width, height) =
            (lane + 2.0 * MARGIN, rows.len() as f64 * ROW - ROW + BOX + 2.0 * MARGIN);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"{:.0} {:.0} {width:.0} {height:.0}\" role=\"img\" \
             aria-label=\"Architecture of the model\" color=\"#555\" fill=\"none\" \
             stroke=\"currentColor\" font-family=\"ui-monospace, monospace\" font-size=\"12\" \
             text-anchor=\"middle\">\n<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" \
             markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" \
             fill=\"currentColor\" stroke=\"none\"/></marker></defs>\n<g marker-end=\"url(#tip)\">\n\
             {lines}</g>\n",
            -MARGIN, -MARGIN
        );
        for Labelled { id, lines } in &self.boxes {
            let (x, y, width) = places[&**id];
            _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BOX}\" rx=\"4\"/>"
            );
            let first = y + BOX / 2.0 + 4.0 - LINE / 2.0 * (lines.len() - 1) as f64;
            for (i, line) in lines.iter().enumerate() {
                let (x, y) = (x + width / 2.0, first + LINE * i as f64);
                let line = escape(line);
                _ = writeln!(
                    svg,
                    "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"currentColor\" stroke=\"none\">{line}</text>"
                );
            }
        }
        svg + "</svg>\n"
    }

    /// Sorts the boxes into rows, by the longest way to each. A box without incoming arrows, except the
    /// first, is placed just above its target.
    fn rows(&self) -> Vec<Vec<usize>> {
        let index = self.boxes.iter().enumerate().map(|(i, labelled)| (&*labelled.id, i));
        let index = index.collect::<HashMap<_, _>>();
        let pairs = self
            .arrows
            .iter()
            .filter_map(|[from, to]| Some((*index.get(&**from)?, *index.get(&**to)?)));
        let pairs = pairs.collect::<Vec<_>>();
        let mut depth = vec![0_usize; self.boxes.len()];
        // As many passes as there are boxes reach the end of the longest way.
        for _ in 0..self.boxes.len() {
            for &(from, to) in &pairs {
                depth[to] = depth[to].max(depth[from] + 1);
            }
        }
        for i in 1..self.boxes.len() {
            if pairs.iter().all(|&(_, to)| to != i) {
                let below = pairs.iter().filter(|(from, _)| *from == i).map(|&(_, to)| depth[to]);
                depth[i] = below.min().map_or(0, |below| below.saturating_sub(1));
            }
        }
        let mut rows = vec![Vec::new(); depth.iter().max().map_or(0, |last| last + 1)];
        for (i, depth) in depth.into_iter().enumerate() {
            rows[depth].push(i);
        }
        rows
    }
}

/// Sizes in pixels: the mean width of a character, space within and around a box, the height of a box,
/// of a line of text and from one row to the next, and the margin of the picture.
const CHARACTER: f64 = 7.3;
const PADDING: f64 = 10.0;
const GAP: f64 = 20.0;
const BOX: f64 = 40.0;
const LINE: f64 = 15.0;
const ROW: f64 = 66.0;
const MARGIN: f64 = 10.0;

/// Escapes text within the quotes of DOT.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Escapes text for XML and HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}
