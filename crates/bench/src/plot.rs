//! Plots the figures of a run: each rate divided by its control, and the rates of the long runs over time.

use std::path::Path;

use anyhow::Context as _;
use plotters::prelude::*;

use crate::args::PlotArgs;
use crate::report::{Figure, Report};
use crate::stats::float_len;

/// Width and height of a plot.
const SIZE: (u32, u32) = (960, 480);
/// The colours of the lines.
const COLOURS: [RGBColor; 5] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(255, 127, 14),
];

/// Reads figures and writes `ratios.svg` and `over-time.svg`.
pub(crate) fn run(args: &PlotArgs) -> anyhow::Result<()> {
    let mut figures: Vec<Figure> = Vec::new();
    for path in &args.figures {
        let newer = Report::read(path)?.figures;
        figures.retain(|old| !newer.iter().any(|new| new.is_same(old)));
        figures.extend(newer);
    }
    std::fs::create_dir_all(&args.out)?;
    ratios(&figures, &args.out.join("ratios.svg"))?;
    over_time(&figures, &args.out.join("over-time.svg"))
}

/// One bar for each rate with a control, and a line at 1.
fn ratios(figures: &[Figure], path: &Path) -> anyhow::Result<()> {
    let bars: Vec<(String, f64)> = figures
        .iter()
        // only rates, so that more is better in every bar
        .filter(|figure| figure.unit.ends_with("/s"))
        .filter_map(|figure| {
            let (control, _) = figure.control.as_ref()?;
            let name = format!("{}: {} ÷ {control}", figure.scenario, figure.what);
            Some((name, figure.ratio.as_ref()?.median))
        })
        .collect();
    let most = bars.iter().map(|(_, ratio)| *ratio).fold(1.0, f64::max);
    let height = u32::try_from(bars.len())? * 26 + 60;
    let area = SVGBackend::new(path, (SIZE.0, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(28)
        .build_cartesian_2d(0.0..most * 1.05, 0.0..float_len(bars.len()))?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_desc("× the control of the same run")
        .draw()?;
    for (place, (name, ratio)) in bars.iter().rev().enumerate() {
        let low = float_len(place);
        let bar = Rectangle::new([(0.0, low + 0.15), (*ratio, low + 0.85)], COLOURS[0].mix(0.35).filled());
        chart.draw_series([bar])?;
        let label = format!("{name}  {ratio:.2}");
        chart.draw_series([Text::new(label, (most * 0.01, low + 0.68), ("sans-serif", 14))])?;
    }
    chart.draw_series(LineSeries::new([(1.0, 0.0), (1.0, float_len(bars.len()))], BLACK.stroke_width(1)))?;
    area.present().context("ratios.svg")
}

fn is_long(figure: &Figure) -> bool {
    figure.series.last().is_some_and(|(seconds, _)| *seconds > 200.0)
}

/// One line for each long run that has a series.
fn over_time(figures: &[Figure], path: &Path) -> anyhow::Result<()> {
    let lines: Vec<&Figure> = figures.iter().filter(|figure| is_long(figure)).collect();
    let lines = if lines.is_empty() {
        figures.iter().filter(|figure| !figure.series.is_empty()).collect()
    } else {
        lines
    };
    let points = || lines.iter().flat_map(|figure| &figure.series);
    let longest = points().map(|(seconds, _)| *seconds).fold(1.0, f64::max);
    let most = points().map(|(_, rate)| *rate).fold(1.0, f64::max);
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..longest, 0.0..most * 1.1)?;
    chart.configure_mesh().x_desc("seconds").y_desc("jobs/s").draw()?;
    for (figure, colour) in lines.into_iter().zip(COLOURS.into_iter().cycle()) {
        chart
            .draw_series(LineSeries::new(figure.series.iter().copied(), colour.stroke_width(2)))?
            .label(format!("{}, {}", figure.scenario, figure.what))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    area.present().context("over-time.svg")
}
