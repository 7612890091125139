/**
 * A script for a page: its texts whose contrast to what is behind them is below 4.5 (WCAG 2.2, success criterion 1.4.3;
 * disabled controls are exempt). Text, since it runs in the browser.
 */
export const contrastFaults = `(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [red, green, blue] = parts(colour).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (element) => {
    for (let each = element; each !== null; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      if ((parts(colour)[3] ?? 1) > 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const seen = [...document.body.querySelectorAll('*')].filter((element) =>
    !element.closest('button:disabled, .unseen, noscript') && element.getClientRects().length > 0 &&
    [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim() !== ''));
  if (seen.length < 5) return ['the page says next to nothing'];
  return seen.flatMap((element) => {
    const pair = [luminance(getComputedStyle(element).color), luminance(behind(element))].sort((a, b) => b - a);
    const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
    return contrast >= 4.5 ? [] : [element.textContent.trim().slice(0, 40) + ': ' + contrast.toFixed(2)];
  });
})()`;
