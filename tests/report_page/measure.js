(async () => {
  const found = { overflow: [], contrast: [], missing: [], unnamed: [], texts: 0, pictures: 0 };
  const width = document.documentElement.clientWidth;
  const told = (element) => `${element.tagName}.${element.className.baseVal ?? element.className}: ${element.textContent.trim().slice(0, 40)}`;
  if (document.documentElement.scrollWidth > width) found.overflow.push(`page: ${document.documentElement.scrollWidth}`);
  for (const element of document.body.querySelectorAll("*")) {
    if (element.closest(".scroll, pre, defs, .skip, thead") || element.ownerSVGElement) continue;
    const box = element.getBoundingClientRect();
    if (box.width && (box.right > width + 0.5 || box.left < -0.5)) found.overflow.push(told(element));
  }
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const channels = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = (element) => {
    if (element.ownerSVGElement) {
      const box = element.getBoundingClientRect(), x = (box.left + box.right) / 2, y = (box.top + box.bottom) / 2;
      const rects = [...element.ownerSVGElement.querySelectorAll("rect")].filter((rect) => {
        const place = rect.getBoundingClientRect();
        const before = rect.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING;
        return before && place.left <= x && x <= place.right && place.top <= y && y <= place.bottom;
      });
      if (rects.length) return channels(getComputedStyle(rects.at(-1)).fill);
    }
    for (let around = element; around; around = around.parentElement) {
      const color = channels(getComputedStyle(around).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const element = text.parentElement;
    if (!text.data.trim() || element.closest("script, style, title, .sides svg, option") || !element.getClientRects().length) continue;
    const style = getComputedStyle(element), size = parseFloat(style.fontSize), bold = Number(style.fontWeight) >= 700;
    const color = channels(element.ownerSVGElement ? style.fill : style.color);
    const least = size >= 24 || (bold && size >= 18.66) ? 3 : 4.5;
    found.texts += 1;
    if (ratio(color, behind(element)) < least) found.contrast.push(`${ratio(color, behind(element)).toFixed(2)} ${told(element)}`);
  }
  for (const image of [...document.images, ...document.querySelectorAll("svg image")]) {
    const copy = new Image();
    copy.src = image.src || image.getAttribute("href");
    found.pictures += 1;
    await copy.decode().catch(() => found.missing.push(copy.src.slice(0, 60)));
  }
  for (const use of document.querySelectorAll("svg use")) if (!document.querySelector(use.getAttribute("href"))) found.missing.push(use.getAttribute("href"));
  for (const link of document.querySelectorAll('a[href^="#"]')) if (!document.querySelector(link.getAttribute("href"))) found.missing.push(link.getAttribute("href"));
  for (const picture of document.querySelectorAll('img, svg[role="img"], [role="region"]'))
    if (!(picture.getAttribute("alt") ?? picture.getAttribute("aria-label"))) found.unnamed.push(told(picture));
  for (const region of document.querySelectorAll(".scroll, pre"))
    if (region.scrollWidth > region.clientWidth && region.tabIndex !== 0) found.unnamed.push(told(region));
  return found;
})()
