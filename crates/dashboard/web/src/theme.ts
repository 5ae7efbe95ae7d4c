// Light or dark: as the system says, or as the user chose on this device.

const KEY = "jobqueue-theme";
export type Theme = "system" | "light" | "dark";

export function theme(): Theme {
  try {
    const kept = localStorage.getItem(KEY);
    return kept === "light" || kept === "dark" ? kept : "system";
  } catch {
    return "system";
  }
}

export function applyTheme(): void {
  document.documentElement.dataset.theme = theme();
}

export function setTheme(next: Theme): void {
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // without storage the choice lasts as long as the page
  }
  document.documentElement.dataset.theme = next;
}
