// What of the libraries the page uses; esbuild leaves out the rest.
import flamegraph from "d3-flame-graph";
import { select } from "d3-selection";
import { BarChart, CustomChart } from "echarts/charts";
import { DataZoomInsideComponent, DataZoomSliderComponent, GridComponent, TooltipComponent } from "echarts/components";
import { init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";

use([BarChart, CustomChart, DataZoomInsideComponent, DataZoomSliderComponent, GridComponent, TooltipComponent, SVGRenderer]);
globalThis.libraries = { flamegraph, init, select };
