// The example image: a still life as an SVG, so that the package needs no photo.

const SCENE = `
<svg xmlns="http://www.w3.org/2000/svg" width="1200" height="800" viewBox="0 0 1200 800">
  <defs>
    <linearGradient id="wall" x2="0" y2="1"><stop stop-color="#dfe7ea"/><stop offset="1" stop-color="#c3d0d6"/></linearGradient>
    <linearGradient id="table" x2="0" y2="1"><stop stop-color="#b98a5e"/><stop offset="1" stop-color="#8f6540"/></linearGradient>
    <radialGradient id="apple" cx=".36" cy=".3" r=".8"><stop stop-color="#ff8f7d"/><stop offset=".45" stop-color="#d63a36"/><stop offset="1" stop-color="#7d1420"/></radialGradient>
    <radialGradient id="orange" cx=".36" cy=".3" r=".8"><stop stop-color="#ffd58a"/><stop offset=".5" stop-color="#f19a2b"/><stop offset="1" stop-color="#a8560c"/></radialGradient>
    <linearGradient id="mug"><stop stop-color="#31597c"/><stop offset=".35" stop-color="#6c9cc4"/><stop offset="1" stop-color="#274763"/></linearGradient>
    <linearGradient id="pot"><stop stop-color="#9a5433"/><stop offset=".4" stop-color="#d68a5f"/><stop offset="1" stop-color="#7d4025"/></linearGradient>
    <filter id="soft"><feGaussianBlur stdDeviation="9"/></filter>
  </defs>
  <rect width="1200" height="800" fill="url(#wall)"/>
  <rect x="790" y="70" width="280" height="250" fill="#f3f7f8"/><rect x="806" y="86" width="248" height="218" fill="#8fc0dd"/>
  <path d="M806 304V240l70-46 62 50 56-36 60 60v36z" fill="#5f8f6a"/><circle cx="1000" cy="140" r="24" fill="#fff3c4"/>
  <rect y="540" width="1200" height="260" fill="url(#table)"/>
  <path d="M0 600h1200M0 690h1200" stroke="#7c5634" stroke-width="3" opacity=".5"/>
  <g filter="url(#soft)" opacity=".45"><ellipse cx="260" cy="668" rx="150" ry="22"/><ellipse cx="560" cy="690" rx="125" ry="20"/><ellipse cx="752" cy="700" rx="100" ry="17"/><ellipse cx="965" cy="655" rx="140" ry="20"/></g>
  <path d="M150 420h220l-26 240q-84 22-168 0z" fill="url(#pot)"/><rect x="136" y="392" width="248" height="44" rx="8" fill="#c0744b"/>
  <g fill="#3f7f4a"><path d="M260 400C120 330 90 190 140 110c70 60 120 170 120 290z"/><path d="M262 400C250 250 270 120 330 60c40 100 10 240-68 340z" fill="#57a062"/><path d="M266 400c40-120 110-190 200-200-10 110-80 180-200 200z" fill="#367041"/></g>
  <path d="M1040 480c90-20 100 120-6 116" fill="none" stroke="#355f84" stroke-width="26"/>
  <path d="M850 420h200v190q-10 48-100 48t-100-48z" fill="url(#mug)"/><ellipse cx="950" cy="420" rx="100" ry="26" fill="#213b52"/><ellipse cx="950" cy="424" rx="84" ry="18" fill="#4a2d1c"/>
  <path d="M560 500c-30-26-120-14-120 86 0 70 56 104 88 104 14 0 20-6 32-6s18 6 32 6c32 0 88-34 88-104 0-100-90-112-120-86z" fill="url(#apple)"/>
  <path d="M560 506q4-40 26-58" fill="none" stroke="#5b3a1e" stroke-width="9" stroke-linecap="round"/><path d="M572 476c14-34 60-40 84-22-16 30-54 38-84 22z" fill="#5f9a45"/>
  <circle cx="752" cy="614" r="88" fill="url(#orange)"/><circle cx="742" cy="536" r="7" fill="#6c7a2e"/>
</svg>`;

/** Return the example as a PNG file. */
export async function exampleImage() {
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(SCENE)}`;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d").drawImage(image, 0, 0);
  return new File([await canvas.convertToBlob()], "still-life.png", { type: "image/png" });
}
