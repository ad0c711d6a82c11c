/** Makes a file of a drawing, which looks the same without the page's style. */

const COPIED = [
  ...[
    "fill",
    "fill-opacity",
    "stroke",
    "stroke-opacity",
    "stroke-width",
    "stroke-dasharray",
    "stroke-linecap",
    "stroke-linejoin",
  ],
  ...["opacity", "display", "visibility", "transform", "transform-box", "transform-origin", "paint-order"],
  ...["font-family", "font-size", "font-weight", "text-anchor"],
];

/**
 * The text of an SVG file.
 * @param {SVGSVGElement} svg         on the page
 * @param {string} background         a colour
 * @returns {string}
 */
export function fileOf(svg, background) {
  const copy = svg.cloneNode(true);
  const drawn = [svg, ...svg.querySelectorAll("*")];
  for (const [index, element] of [copy, ...copy.querySelectorAll("*")].entries())
    bake(element, getComputedStyle(drawn[index]));
  const { width, height } = svg.viewBox.baseVal;
  for (const [name, value] of Object.entries({ xmlns: "http://www.w3.org/2000/svg", width, height }))
    copy.setAttribute(name, value);
  copy.style.cssText += `; background: ${background}`;
  return new XMLSerializer().serializeToString(copy);
}

function bake(element, style) {
  for (const name of ["class", "role", "tabindex", "aria-pressed", "aria-hidden"]) element.removeAttribute(name);
  for (const name of COPIED) element.style.setProperty(name, style.getPropertyValue(name));
}

/** Let the browser save a text as a file. */
export function save(text, name, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1_000);
}
