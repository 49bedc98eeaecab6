//! The text of a page: a template, its style and script, and the data.

use std::fmt::Write;

use serde::Serialize;
use serde_json::json;

use super::network::{Step, steps};
use super::pack::Packed;
use super::{Components, Decoded, Html, Networks, STEPS};
use crate::likelihood::InverseLink;
use crate::summary::{Summary, escape, grouped, show};
use crate::train::{Epoch, History};

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
/// The parts of the script, in order.
const SCRIPT: [&str; 8] = [
    include_str!("page/unpack.js"),
    include_str!("page/network.js"),
    include_str!("page/picture.js"),
    include_str!("page/curves.js"),
    include_str!("page/latent.js"),
    include_str!("page/pad.js"),
    include_str!("page/gallery.js"),
    include_str!("page/main.js"),
];

/// Models that can run in the page.
#[derive(Serialize)]
struct Live {
    encoder: Option<Vec<Step>>,
    decoder: Vec<Step>,
    inverse_link: InverseLink,
    is_standard: bool,
    weights: Packed,
}

pub(super) fn render(html: &Html) -> String {
    let command = html.command.as_ref().map(|command| {
        format!(
            "<section id=\"repeat\"><h2>Repeat the run</h2><pre id=\"command\"><code>{}</code></pre>\
             <button type=\"button\" id=\"copy\">Copy</button></section>",
            escape(command)
        )
    });
    let json = serde_json::to_string(&data(html)).expect("the data of a page are plain");
    fill(&[
        ("title", &escape(&html.title)),
        ("version", env!("CARGO_PKG_VERSION")),
        ("course", &course(&html.history)),
        ("style", STYLE),
        ("figures", &figures(&html.figures)),
        ("model", &html.summary.as_ref().map(model).unwrap_or_default()),
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
    let shown = html.shown.as_ref();
    let live = html.networks.as_ref().filter(|networks| networks.can_run()).map(live);
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
        "latentDim": html.dims.map(|[_, latent_dim]| latent_dim),
        "dataDim": html.dims.map(|[data_dim, _]| data_dim),
        "samples": html.samples.as_ref().map(decoded),
        "shown": shown.map(|shown| json!({
            "count": shown.count,
            "labels": shown.labels,
            "values": pack(&shown.values),
            "reconstructions": decoded(&shown.reconstructions),
            "interpolations": decoded(&shown.interpolations),
            "steps": STEPS,
            "coordinates": Packed::rounded(&shown.coordinates),
            "components": shown.components.as_ref().map(components),
        })),
        "dimensions": html.latents.as_ref().map(|latents| json!({
            "divergence": latents.divergence,
            "variance": latents.mean_variance,
            "active": crate::eval::ACTIVE_UNIT,
        })),
        "live": live,
    })
}

fn live(networks: &Networks) -> Option<Live> {
    let mut weights = Vec::new();
    let encoder = networks.encoder.clone().map(|stages| steps(stages, &mut weights));
    let decoder = steps(networks.decoder.clone()?, &mut weights);
    Some(Live {
        encoder,
        decoder,
        inverse_link: networks.inverse_link?,
        is_standard: networks.is_standard,
        weights: Packed::rounded(&weights),
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
        _ = write!(line, ", the best is {}", best.epoch);
    }
    if let Some(seconds) = history.seconds_per_epoch() {
        _ = write!(line, ", {seconds:.1} s per epoch");
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
        "<section id=\"figures\"><h2>Figures</h2><table>{}</table></section>",
        rows.collect::<String>()
    )
}

fn model(summary: &Summary) -> String {
    let mut rows = String::new();
    for (part, layers) in summary.parts() {
        for (i, layer) in layers.iter().enumerate() {
            let part = if i == 0 { part } else { "" };
            _ = write!(
                rows,
                "<tr><th scope=\"row\">{part}</th><td>{}</td><td>{}</td><td>{}</td>\
                 <td class=\"number\">{}</td></tr>",
                escape(&layer.name),
                escape(&layer.kind),
                show(&layer.output),
                grouped(layer.params.total())
            );
        }
    }
    let params = summary.params();
    format!(
        "<section id=\"model\"><h2>Model</h2><p>{} parameters, {} of them trainable.</p>\
         <div class=\"wide\"><table><thead><tr><th></th><th>name</th><th>layer</th><th>output</th>\
         <th class=\"number\">parameters</th></tr></thead><tbody>{rows}</tbody></table></div>\
         <details><summary>Architecture</summary><div class=\"wide\">{}</div></details></section>",
        grouped(params.total()),
        grouped(params.trainable),
        summary.to_svg()
    )
}
