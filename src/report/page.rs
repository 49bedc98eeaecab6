//! The text of a page: a template, its style and script, and the data.

use std::fmt::Write;

use serde_json::json;

use super::Html;
use super::model::{Components, Decoded, STEPS};
use super::pack::Packed;
use crate::summary::{Summary, escape, grouped, show};
use crate::train::{Epoch, History};

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
/// The parts of the script, in order.
const SCRIPT: [&str; 12] = [
    include_str!("page/unpack.js"),
    include_str!("page/network.js"),
    include_str!("page/picture.js"),
    include_str!("page/curves.js"),
    include_str!("page/space.js"),
    include_str!("page/marks.js"),
    include_str!("page/plane.js"),
    include_str!("page/gestures.js"),
    include_str!("page/latent.js"),
    include_str!("page/pad.js"),
    include_str!("page/gallery.js"),
    include_str!("page/main.js"),
];

pub(super) fn render(html: &Html) -> String {
    let command = html.command.as_ref().map(|command| {
        format!(
            "<section id=\"repeat\"><h2>Repeat the run</h2><pre id=\"command\"><code>{}</code></pre>\
             <button type=\"button\" id=\"copy\">Copy</button></section>",
            escape(command)
        )
    });
    let json = data(html).to_string();
    fill(&[
        ("title", &escape(&html.title)),
        ("version", env!("CARGO_PKG_VERSION")),
        ("course", &course(&html.history)),
        ("style", STYLE),
        ("figures", &figures(&html.figures)),
        ("model", &html.model.as_ref().map(|model| layers(&model.summary)).unwrap_or_default()),
        ("command", &command.unwrap_or_default()),
        // No end of a script and no comment may occur in the data.
        ("data", &json.replace('<', "\\u003c")),
        ("script", &SCRIPT.join("\n")),
    ])
}

/// Replaces the marks of the template by values, in which marks mean nothing.
fn fill(values: &[(&str, &str)]) -> String {
    let mut parts = TEMPLATE.split("{{");
    let mut page = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let (name, rest) = part.split_once("}}").expect("marks of the template are closed");
        let value = values.iter().find(|(known, _)| *known == name);
        page.push_str(value.expect("marks of the template have a value").1);
        page.push_str(rest);
    }
    page
}

fn data(html: &Html) -> serde_json::Value {
    let model = html.model.as_ref();
    let live = model.and_then(|model| model.live.as_ref());
    let shown = model.and_then(|model| model.shown.as_ref());
    let image = shown.and_then(|shown| shown.image);
    let pack = |values: &[f32]| match image {
        Some(_) => Packed::bytes(values),
        None => Packed::exact(values),
    };
    // A decoder in the page makes the means.
    let decoded = |Decoded { codes, means }: &Decoded| match live {
        Some(_) => json!({ "codes": Packed::rounded(codes) }),
        None => json!({ "means": pack(means) }),
    };
    json!({
        "history": curves(&html.history),
        "image": image,
        "latentDim": model.map(|model| model.latent_dim),
        "dataDim": model.map(|model| model.data_dim),
        "samples": model.map(|model| decoded(&model.samples)),
        "shown": shown.map(|shown| json!({
            "count": shown.count,
            "labels": shown.labels,
            "values": pack(&shown.values),
            "reconstructions": decoded(&shown.reconstructions),
            "interpolations": shown.interpolations.as_ref().map(decoded),
            "steps": STEPS,
            "coordinates": Packed::rounded(&shown.coordinates),
            "components": shown.components.as_ref().map(components),
        })),
        "dimensions": html.latents.as_ref().map(|latents| json!({
            "divergence": latents.divergence,
            "variance": latents.mean_variance,
            "active": crate::eval::ACTIVE_UNIT,
        })),
        "live": live.map(|live| json!({
            "encoder": live.encoder,
            "decoder": live.decoder,
            "inverseLink": live.inverse_link,
            "isStandard": live.is_standard,
            "weights": Packed::rounded(&live.weights),
        })),
    })
}

fn components(components: &Components) -> serde_json::Value {
    json!({
        "mean": Packed::exact(&components.mean),
        "axes": Packed::exact(&components.axes),
        "variances": components.variances,
        "shares": components.shares,
    })
}

/// What the figures are.
const EXPLAINED: &str = "<details><summary>What these are</summary><ul>\
    <li><b>NELBO</b>: the negative evidence lower bound, which training minimises; distortion plus \
    divergence. Lower is better.</li>\
    <li><b>Distortion</b>: how badly a code explains its example, the expected negative log-likelihood.</li>\
    <li><b>Divergence</b>: the information in a code, from the posterior to the prior.</li>\
    <li><b>NLL</b>: an estimate of the negative log-likelihood itself, which the NELBO bounds.</li>\
    <li>A <b>likelihood</b> can be compared with any other on the same data. A <b>cross-entropy</b>, as of grey \
    pixels, only with figures of the same kind. A <b>density</b> depends on the units of the data.</li>\
    <li>Values are sums over an example, in <b>nats</b>: 1 nat is 1.44 bits.</li></ul></details>";

/// The columns of a history that the page draws.
fn curves(history: &History) -> serde_json::Value {
    let column = |value: fn(&Epoch) -> f64| history.epochs.iter().map(value).collect::<Vec<_>>();
    json!({
        "epoch": history.epochs.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(),
        "best": history.best().map(|best| best.epoch),
        "train": {
            "nelbo": column(|epoch| epoch.train_nelbo),
            "distortion": column(|epoch| epoch.train_distortion),
            "divergence": column(|epoch| epoch.train_divergence),
        },
        "valid": {
            "nelbo": column(|epoch| epoch.valid_nelbo),
            "distortion": column(|epoch| epoch.valid_distortion),
            "divergence": column(|epoch| epoch.valid_divergence),
        },
    })
}

/// A line on the length of the run.
fn course(history: &History) -> String {
    let epochs = history.epochs.len();
    let mut line = format!("{epochs} epoch{}", if epochs == 1 { "" } else { "s" });
    if let Some(best) = history.best() {
        _ = write!(line, "; best: epoch {}", best.epoch);
    }
    if let Some(seconds) = history.seconds_per_epoch() {
        _ = write!(line, "; {seconds:.1} s per epoch");
    }
    line
}

fn figures(figures: &[[String; 2]]) -> String {
    if figures.is_empty() {
        return String::new();
    }
    let rows = figures.iter().map(|[name, value]| {
        format!("<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escape(name), escape(value))
    });
    format!(
        "<section id=\"figures\"><h2>Figures</h2><div class=\"wide\"><table>{}</table></div>{EXPLAINED}\
         </section>",
        rows.collect::<String>()
    )
}

fn layers(summary: &Summary) -> String {
    let mut rows = String::new();
    for (part, layers) in summary.parts() {
        for (i, layer) in layers.iter().enumerate() {
            let part = match i {
                0 => format!("<th scope=\"rowgroup\" rowspan=\"{}\">{part}</th>", layers.len()),
                _ => String::new(),
            };
            _ = write!(
                rows,
                "<tr>{part}<td>{}</td><td>{}</td><td>{}</td><td class=\"number\">{}</td></tr>",
                escape(&layer.name),
                escape(&layer.kind),
                show(&layer.output),
                grouped(layer.params.total())
            );
        }
    }
    let params = summary.params();
    let trainable = match params.fixed {
        0 => "all trainable".to_string(),
        _ => format!("{} of them trainable", grouped(params.trainable)),
    };
    format!(
        "<section id=\"model\"><h2>Model</h2><p>{} parameters, {trainable}.</p>\
         <div class=\"wide\"><table><thead><tr><td></td><th scope=\"col\">name</th>\
         <th scope=\"col\">layer</th><th scope=\"col\">output</th>\
         <th scope=\"col\" class=\"number\">parameters</th></tr></thead><tbody>{rows}</tbody></table></div>\
         <details><summary>Architecture</summary><div class=\"wide\">{}</div></details></section>",
        grouped(params.total()),
        summary.to_svg()
    )
}
