//! The page in use: pointer, keyboard, drawing, themes.

use burn::tensor::Device;
use burn_vae::data::mnist::Mnist;
use burn_vae::data::{ByteImages, Table};
use burn_vae::report::Html;
use burn_vae::{MlpVaeConfig, ModuleConfig, Seed};
use serde_json::json;

use crate::browser::Browser;
use crate::history;

fn digits() -> ByteImages {
    Mnist::find(None).unwrap().test.take(60)
}

fn page(latent_dim: usize) -> String {
    let config = MlpVaeConfig::mlp(784, [16], latent_dim);
    let vae = config.init(Seed::new(0), &Device::flex()).unwrap();
    Html::new("Digits", &history()).with_images(&vae, &digits()).unwrap().to_html()
}

/// The code that the page shows, by the text below the pictures.
fn code(browser: &mut Browser) -> Vec<f64> {
    let text = browser.text("document.getElementById('code').textContent");
    let list = text.strip_prefix("code: ").unwrap().replace('\u{2212}', "-");
    list.split(", ").map(|value| value.parse().unwrap()).collect()
}

/// Moves the pointer over the plane until an example is near; returns the place and the caption of the
/// example.
pub fn over_an_example(browser: &mut Browser) -> ([f64; 2], String) {
    for step in 0..400 {
        let [across, down] = [step % 20, step / 20].map(|i| f64::from(i) / 40.0 + 0.25);
        let place = browser.point("plane", [across, down]);
        browser.mouse("mouseMoved", place, false);
        let caption = browser.text("document.getElementById('nearest-caption').textContent");
        if caption.starts_with("example") {
            return (place, caption);
        }
    }
    panic!("no example is near the middle of the plane");
}

const DECODED: &str = "Array.from(document.getElementById('decoded').getContext('2d')\
                       .getImageData(0, 0, 28, 28).data)";

#[test]
fn the_pointer_decodes_the_code_below_it() {
    let Some(mut browser) = Browser::open(&page(2)) else { return };
    let place = browser.point("plane", [0.8, 0.3]);
    browser.mouse("mouseMoved", place, false);
    let found = code(&mut browser);
    // The right and upper part of a plane that is centred on the codes and the prior.
    assert!(found[0] > 0.5 && found[1] > 0.5, "{found:?}");
    let shown = browser.numbers(DECODED);
    let expected = browser.numbers(&format!(
        "burnVae.then((nets) => Array.from(nets.decode(Float32Array.from({found:?}))))"
    ));
    for (i, value) in expected.iter().enumerate() {
        // The code is printed with two digits.
        assert!((shown[4 * i] - 255.0 * value).abs() < 2.0, "pixel {i}: {} {value}", shown[4 * i]);
    }
    // The wheel zooms with Ctrl: the same way of the pointer is now a shorter way for the code.
    let to = [place[0] - 40.0, place[1]];
    browser.mouse("mouseMoved", to, false);
    let before = found[0] - code(&mut browser)[0];
    let wheel = json!({
        "type": "mouseWheel", "x": to[0], "y": to[1], "deltaX": 0, "deltaY": -600, "modifiers": 2,
    });
    browser.send("Input.dispatchMouseEvent", wheel);
    browser.mouse("mouseMoved", to, false);
    let from = code(&mut browser)[0];
    browser.mouse("mouseMoved", place, false);
    let after = code(&mut browser)[0] - from;
    assert!(after > 0.0 && after < 0.6 * before, "{before} {after}");
    // With the plane decoded behind the points, it has more colours than classes and lines.
    browser.evaluate("document.getElementById('manifold').click()");
    browser.evaluate("new Promise((done) => setTimeout(done, 500))");
    let greys = browser.evaluate(
        "(() => { const c = document.getElementById('plane'); const d = c.getContext('2d')\
         .getImageData(0, 0, c.width, c.height).data; const s = new Set(); \
         for (let i = 0; i < d.length; i += 4) s.add(d[i]); return s.size; })()",
    );
    assert!(greys.as_u64().unwrap() > 100, "{greys}");
    browser.screenshot("plane");
    browser.close();
}

/// The end of a drag chooses no example; a click does, with all its coordinates.
#[test]
fn a_drag_moves_the_plane_and_a_click_chooses() {
    let Some(mut browser) = Browser::open(&page(5)) else { return };
    let chosen = "document.getElementById('pad-example').value";
    let sliders = "Array.from(document.querySelectorAll('#sliders input'), (s) => Number(s.value))";
    let place = browser.point("plane", [0.5, 0.5]);
    browser.mouse("mousePressed", place, true);
    for step in 1..10 {
        browser.mouse("mouseMoved", [place[0] + 8.0 * f64::from(step), place[1]], true);
    }
    browser.mouse("mouseReleased", [place[0] + 72.0, place[1]], false);
    assert_eq!(browser.text(chosen), "1");
    let (place, caption) = over_an_example(&mut browser);
    browser.mouse("mousePressed", place, true);
    browser.mouse("mouseReleased", place, false);
    let number = caption.split([' ', ',']).nth(1).unwrap().to_string();
    assert_eq!(browser.text(chosen), number);
    let set = browser.numbers(sliders);
    assert!(set[2..].iter().any(|value| value.abs() > 1e-6), "{set:?}");
    browser.close();
}

#[test]
fn the_keyboard_moves_the_code() {
    let Some(mut browser) = Browser::open(&page(2)) else { return };
    browser.evaluate("document.getElementById('plane').focus()");
    let before = code(&mut browser);
    for key in ["ArrowRight", "ArrowRight", "ArrowDown"] {
        browser.press(key);
    }
    let after = code(&mut browser);
    assert!(after[0] > before[0] && after[1] < before[1], "{before:?} {after:?}");
    // The view follows the cross, so an example far away is still seen: all marks are where they were
    // relative to it.
    for _ in 0..80 {
        browser.press("ArrowLeft");
    }
    let far = code(&mut browser)[0];
    let place = browser.point("plane", [0.0, 0.5]);
    browser.mouse("mouseMoved", [place[0] + 1.0, place[1]], false);
    let edge = code(&mut browser)[0];
    assert!((far - edge).abs() < 0.5, "{far} {edge}");
    browser.close();
}

/// Beyond two dimensions, sliders move along principal components.
#[test]
fn sliders_move_along_principal_components() {
    let Some(mut browser) = Browser::open(&page(5)) else { return };
    let before = code(&mut browser);
    assert_eq!(before.len(), 5);
    let sliders = browser.evaluate("document.querySelectorAll('#sliders input').length");
    assert_eq!(sliders, 5);
    let moved = browser.numbers(
        "(() => { const s = document.getElementById('slider-2'); s.value = s.max; \
         s.dispatchEvent(new Event('input')); return [Number(s.value)]; })()",
    )[0];
    let after = code(&mut browser);
    let distance = before.iter().zip(&after).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    // Axes have length 1; the code is printed with two digits.
    assert!((distance - moved).abs() < 0.02, "{distance} {moved}");
    browser.close();
}

#[test]
fn a_drawing_is_encoded() {
    let Some(mut browser) = Browser::open(&page(2)) else { return };
    let text =
        |browser: &mut Browser| browser.text("document.getElementById('pad-text').innerText");
    let first = text(&mut browser);
    assert!(first.contains("KL divergence to the prior: "), "{first}");
    browser.evaluate("document.getElementById('pad-clear').click()");
    let empty = text(&mut browser);
    let corners = [[0.3, 0.2], [0.7, 0.2], [0.4, 0.85]];
    let corners = corners.map(|corner| browser.point("pad", corner));
    browser.mouse("mousePressed", corners[0], true);
    for corner in corners {
        browser.mouse("mouseMoved", corner, true);
    }
    browser.mouse("mouseReleased", corners[2], false);
    let drawn = text(&mut browser);
    assert!(first != empty && empty != drawn, "{first} {empty} {drawn}");
    // The KL divergence on the page is that of the posterior of what is in the pad.
    let [pixels, expected] = [
        "Array.from(document.getElementById('pad').getContext('2d').getImageData(0, 0, 28, 28).data)\
         .filter((_, i) => i % 4 === 0)",
        "burnVae.then((nets) => { const d = document.getElementById('pad').getContext('2d')\
         .getImageData(0, 0, 28, 28).data; const x = Float32Array.from({ length: 784 }, \
         (_, i) => d[4 * i] / 255); const q = nets.encode(x); let kl = 0; \
         q.mean.forEach((m, i) => { kl += (m * m + q.variance[i] - 1 - Math.log(q.variance[i])) / 2; }); \
         return [kl]; })",
    ]
    .map(|expression| browser.numbers(expression));
    let ink = pixels.iter().filter(|&&pixel| pixel > 200.0).count();
    assert!((20..200).contains(&ink), "{ink} pixels of ink");
    let (_, shown) = drawn.split_once("prior: ").unwrap();
    let shown = shown.split(' ').next().unwrap().parse::<f64>().unwrap();
    assert!((shown - expected[0]).abs() < 0.02 + 0.01 * expected[0], "{drawn} {expected:?}");
    browser.screenshot("drawing");
    // The mouse moves on without its button: nothing is drawn.
    browser.mouse("mouseMoved", corners[0], false);
    assert_eq!(text(&mut browser), drawn);
    browser.close();
}

#[test]
fn classes_can_be_hidden_and_examples_chosen() {
    let Some(mut browser) = Browser::open(&page(2)) else { return };
    let classes =
        digits().labels().unwrap().iter().copied().collect::<std::collections::BTreeSet<_>>();
    let buttons = "document.querySelectorAll('#classes button')";
    assert_eq!(browser.evaluate(&format!("{buttons}.length")), classes.len());
    browser.evaluate(&format!("{buttons}.forEach((button) => button.click())"));
    browser.evaluate("document.getElementById('plane').focus()");
    browser.press("ArrowLeft");
    let caption = browser.text("document.getElementById('nearest-caption').textContent");
    assert_eq!(caption, "no example nearby");
    browser.evaluate(
        "(() => { const e = document.getElementById('pad-example'); e.value = 7; \
         e.dispatchEvent(new Event('input')); })()",
    );
    let pad = browser.numbers(
        "Array.from(document.getElementById('pad').getContext('2d').getImageData(0, 0, 28, 28).data)",
    );
    let digits = digits();
    let image = &digits.pixels()[6 * 784..7 * 784];
    assert!(image.iter().enumerate().all(|(i, &byte)| pad[4 * i] == f64::from(byte)));
    browser.close();
}

#[test]
fn the_page_fits_a_phone_and_both_themes() {
    let Some(mut browser) = Browser::open(&page(3)) else { return };
    let ink = "getComputedStyle(document.body).color";
    let [light, dark] = ["light", "dark"].map(|theme| {
        let features = json!([{ "name": "prefers-color-scheme", "value": theme }]);
        browser.send("Emulation.setEmulatedMedia", json!({ "features": features }));
        browser.screenshot(theme);
        browser.text(ink)
    });
    assert_ne!(light, dark);
    browser.evaluate("document.getElementById('theme').click()");
    assert_eq!(browser.text(ink), light);
    let phone = json!({ "width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": true });
    browser.send("Emulation.setDeviceMetricsOverride", phone);
    browser.evaluate("new Promise((done) => setTimeout(done, 300))");
    let width = browser.evaluate("document.documentElement.scrollWidth");
    assert!(width.as_u64().unwrap() <= 360, "{width}");
    browser.screenshot("phone");
    browser.close();
}

/// Examples that are no images are rows of bars; there is nothing to draw on.
#[test]
fn tables_are_shown_as_bars() {
    let table = Table::new(vec![0.25; 30], ["a", "b", "c"]).unwrap();
    let config = MlpVaeConfig::mlp(3, [4], 1);
    let vae = config.init(Seed::new(0), &Device::flex()).unwrap();
    let page = Html::new("Table", &history())
        .with_examples(&vae, &table, Some(&[1; 10]))
        .unwrap()
        .to_html();
    let Some(mut browser) = Browser::open(&page) else { return };
    assert_eq!(browser.evaluate("document.getElementById('pad-section').hidden"), true);
    let place = browser.point("plane", [0.6, 0.6]);
    browser.mouse("mouseMoved", place, false);
    assert_eq!(code(&mut browser).len(), 1);
    assert_eq!(browser.evaluate("document.getElementById('decoded').width"), 64);
    browser.screenshot("table");
    browser.close();
}

#[test]
fn curves_have_values_under_the_pointer() {
    let Some(mut browser) = Browser::open(&Html::new("Curves", &history()).to_html()) else {
        return;
    };
    let place = browser.point("chart", [0.97, 0.5]);
    browser.mouse("mouseMoved", place, false);
    let text = browser.text("document.querySelector('#chart svg').textContent");
    assert!(text.contains("epoch 3") && text.contains("training: 171"), "{text}");
    browser.evaluate("document.querySelector('input[value=divergence]').click()");
    browser.evaluate("document.getElementById('log').click()");
    let rows = browser.evaluate("document.querySelectorAll('#epochs tbody tr').length");
    assert_eq!(rows, 3);
    browser.close();
}
